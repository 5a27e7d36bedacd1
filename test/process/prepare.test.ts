import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

const SCRIPT = fileURLToPath(new URL('../../scripts/prepare.mjs', import.meta.url))

/** Written in this order, a second apart: a project that is installed and built. */
const UP_TO_DATE = [
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'package-lock.json',
  'src/store/a.ts',
  'src/store',
  'src',
  'node_modules/.package-lock.json',
  'dist/main.js',
]

/** A project in a folder with a space in its name, and an npm that only writes down what it was asked. */
function project(t: Test, { node = '>=20.19', npmExit = 0, without = [] as string[] } = {}) {
  const dir = join(t.testdir(), 'a project')
  const at = (name: string) => join(dir, name)
  for (const name of ['src/store', 'scripts', 'node_modules', 'dist'])
    mkdirSync(at(name), { recursive: true })
  copyFileSync(SCRIPT, at('scripts/prepare.mjs'))
  const npm = at('npm-cli.js')
  const asked = at('asked')
  writeFileSync(
    npm,
    `require('fs').appendFileSync(${JSON.stringify(asked)}, process.argv.slice(2).join(' ') + '\\n'); process.exit(${npmExit})`,
  )
  const files = UP_TO_DATE.filter(name => !without.includes(name))
  for (const name of files) {
    if (existsSync(at(name))) continue
    mkdirSync(dirname(at(name)), { recursive: true })
    writeFileSync(at(name), JSON.stringify({ engines: { node } }))
  }
  files.forEach((name, second) => {
    utimesSync(at(name), second, second)
  })
  const run = () => {
    writeFileSync(asked, '')
    const { status, stdout, stderr } = spawnSync(process.execPath, [at('scripts/prepare.mjs')], {
      env: { npm_execpath: npm },
      encoding: 'utf8',
    })
    return { status, stdout, stderr, asked: readFileSync(asked, 'utf8').trimEnd() }
  }
  const touch = (name: string) => utimesSync(at(name), 1000, 1000)
  return { run, touch }
}

const INSTALL = 'install --no-save --include=dev'
const BUILD = 'run build'

t.test('does and prints nothing if there is nothing to do', async t => {
  t.same(project(t).run(), { status: 0, stdout: '', stderr: '', asked: '' })
})

t.test('a fresh clone is installed and built', async t => {
  const without = ['node_modules/.package-lock.json', 'dist/main.js']
  t.match(project(t, { without }).run(), { status: 0, asked: `${INSTALL}\n${BUILD}` })
})

t.test('a change is installed or built', async t => {
  for (const [name, asked] of [
    ['package-lock.json', INSTALL],
    ['src/store/a.ts', BUILD],
    ['src/store', BUILD], // as when a file in it is removed
    ['package.json', BUILD],
    ['tsconfig.json', BUILD],
  ] as const) {
    const { run, touch } = project(t)
    touch(name)
    t.match(run(), { status: 0, asked }, name)
  }
})

t.test('it fails if npm fails', async t => {
  const { status, stderr, asked } = project(t, {
    npmExit: 3,
    without: ['node_modules/.package-lock.json'],
  }).run()
  t.equal(status, 1)
  t.equal(asked, INSTALL)
  t.equal(stderr, `prepare: npm ${INSTALL} failed\n`)
})

t.test('it reports an old Node', async t => {
  const { status, stderr, asked } = project(t, { node: '>=99.1' }).run()
  t.equal(status, 1)
  t.equal(asked, '')
  t.match(stderr, /^prepare: Node >=99\.1 is needed, this is \d+\.\d+\.\d+\n$/)
})
