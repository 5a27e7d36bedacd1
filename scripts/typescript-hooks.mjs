/**
 * Module hooks: `./x.js`, imported by a TypeScript file, resolves to x.ts. It is compiled once and cached until its text changes.
 * https://nodejs.org/docs/latest-v20.x/api/module.html#customization-hooks
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** The usual folder for caches of tools, as Babel and others use it. */
const COMPILED = join(ROOT, 'node_modules', '.cache', 'typescript')
const ESBUILD_VERSION = JSON.parse(
  readFileSync(join(ROOT, 'node_modules', 'esbuild', 'package.json'), 'utf8'),
).version

export async function resolve(specifier, context, next) {
  if (specifier.startsWith('.') && specifier.endsWith('.js') && context.parentURL?.endsWith('.ts')) {
    const source = new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL)
    if (existsSync(source)) return { url: source.href, format: 'module', shortCircuit: true }
  }
  return next(specifier, context)
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context)
  return { format: 'module', source: await compiled(fileURLToPath(url)), shortCircuit: true }
}

async function compiled(path) {
  const text = readFileSync(path, 'utf8')
  const mark = `\n//${createHash('sha256').update(ESBUILD_VERSION).update(text).digest('hex')}`
  const kept = join(COMPILED, `${relative(ROOT, path)}.mjs`)
  if (existsSync(kept)) {
    const code = readFileSync(kept, 'utf8')
    if (code.endsWith(mark)) return code
  }
  const code = (await compile(path, text)) + mark
  mkdirSync(dirname(kept), { recursive: true })
  // Other processes read and write the same file, so it must appear complete or not at all.
  writeFileSync(`${kept}.${process.pid}`, code)
  renameSync(`${kept}.${process.pid}`, kept)
  return code
}

/** As in tsconfig.json, whose `isolatedModules` forbids code that cannot be compiled file by file. */
async function compile(sourcefile, text) {
  const { transform } = await import('esbuild')
  const { code } = await transform(text, {
    loader: 'ts',
    format: 'esm',
    target: 'es2023',
    sourcemap: 'inline',
    sourcefile,
    tsconfigRaw: { compilerOptions: { target: 'ES2023', verbatimModuleSyntax: true } },
  })
  return code
}
