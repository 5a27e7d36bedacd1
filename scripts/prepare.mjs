/**
 * Before `npm start` and `npm test`: installs and builds where that was not done, or not since the last change.
 * Says nothing when there is nothing to do. No dependencies: it runs before there are any.
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

// npm writes the file asked for here last, when all else is in place.
if (isOlder(at('node_modules', '.package-lock.json'), [at('package-lock.json')])) {
  // Not `ci`: it empties node_modules under a program that runs, and refuses a lock file that names no packages for
  // other platforms. Development dependencies whatever NODE_ENV says: the build needs them.
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

/** Whether `file` is missing, or was written before anything in `sources` (folders count with all they hold). */
function isOlder(file, sources) {
  return !existsSync(file) || statSync(file).mtimeMs < Math.max(...sources.map(newest))
}

/** A folder's own time counts, too: it changes when a file in it is removed. */
function newest(path) {
  const stat = statSync(path)
  const inside = stat.isDirectory() ? readdirSync(path).map(name => newest(join(path, name))) : []
  return Math.max(stat.mtimeMs, ...inside)
}

function npm(...args) {
  console.log(`npm ${args.join(' ')}`)
  const script = process.env.npm_execpath || ''
  // By way of node, where npm says where it is: no shell, so no quoting. On Windows npm is a .cmd file, which needs one.
  const { status, error } = /^npm-cli\.c?js$/.test(basename(script))
    ? spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' })
    : spawnSync('npm', args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0) end(`npm ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`)
}

function end(message) {
  console.error(`prepare: ${message}`)
  process.exit(1)
}
