/**
 * Runs before `npm start` and `npm test`: installs and builds if that was not done since the last change. Prints nothing
 * if there is nothing to do. It has no dependencies, because it runs before they are installed.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const at = (...names) => join(root, ...names)

const wanted = JSON.parse(readFileSync(at('package.json'), 'utf8')).engines.node
if (!isAtLeast(process.versions.node, wanted.replace('>=', ''))) {
  end(`Node ${wanted} is needed, this is ${process.versions.node}`)
}

// npm writes this file last, when everything else is installed.
if (isOlder(at('node_modules', '.package-lock.json'), [at('package-lock.json')])) {
  // Not `npm ci`: it empties node_modules under a running program, and refuses a lock file without the packages of other
  // platforms. Development dependencies are installed whatever NODE_ENV says, because the build needs them.
  npm('install', '--no-save', '--include=dev')
}
if (
  isOlder(
    at('dist', 'main.js'),
    ['src', 'package.json', 'tsconfig.json', 'tsconfig.build.json'].map(name => at(name)),
  )
) {
  npm('run', 'build')
}

function isAtLeast(version, lowest) {
  const [a, b] = [version, lowest].map(text => text.split('.').map(Number))
  return a[0] !== b[0] ? a[0] > b[0] : a[1] >= (b[1] || 0)
}

/** Whether `file` is missing or older than anything in `sources`, including the content of folders. */
function isOlder(file, sources) {
  return !existsSync(file) || statSync(file).mtimeMs < Math.max(...sources.map(newest))
}

/** Includes the folder's own time, which changes when a file in it is removed. */
function newest(path) {
  const stat = statSync(path)
  const inside = stat.isDirectory() ? readdirSync(path).map(name => newest(join(path, name))) : []
  return Math.max(stat.mtimeMs, ...inside)
}

function npm(...args) {
  console.log(`npm ${args.join(' ')}`)
  const script = process.env.npm_execpath || ''
  // Run npm with node if npm names its own path: then no shell and no quoting is needed. On Windows npm is a .cmd file,
  // which needs a shell.
  const { status, error } = /^npm-cli\.c?js$/.test(basename(script))
    ? spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' })
    : spawnSync('npm', args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0) end(`npm ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`)
}

function end(message) {
  console.error(`prepare: ${message}`)
  process.exit(1)
}
