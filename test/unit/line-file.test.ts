/** What `audit.file` and `log.file` may be, and where their folders are made. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkLineFiles, prepareLineFiles } from '../../src/app/line-files.js'
import { loadConfig } from '../../src/config/config.js'
import { lineFileFault } from '../../src/core/line-file.js'

t.test('lines are appended to files and devices, and to nothing else', async t => {
  const dir = t.testdir({ file: '', folder: {} })
  const fifo = join(dir, 'fifo')
  execFileSync('mkfifo', [fifo])
  for (const good of [join(dir, 'file'), join(dir, 'none'), '/dev/null'])
    t.equal(lineFileFault(good), undefined, good)
  t.match(lineFileFault(join(dir, 'folder')), /is a folder/)
  t.match(lineFileFault(fifo), /is a FIFO/)
})

t.test('a folder is made in data.dir alone, and each fault names its key', async t => {
  const dir = t.testdir()
  const load = (audit: string, log = '') =>
    loadConfig({ argv: ['--data.dir', join(dir, 'data'), '--audit.file', audit, '--log.file', log], env: {} })
  prepareLineFiles(load(join(dir, 'data/audit/lines')))
  t.ok(existsSync(join(dir, 'data/audit')))
  const elsewhere = join(dir, 'data/../elsewhere/lines')
  t.throws(() => prepareLineFiles(load(elsewhere)), { message: /^audit\.file: the folder .* is not there/ })
  t.notOk(existsSync(join(dir, 'elsewhere')))
  mkdirSync(join(dir, 'elsewhere'))
  writeFileSync(elsewhere, '')
  prepareLineFiles(load(elsewhere))
  t.throws(() => checkLineFiles(load('', dir)), { message: /^log\.file: .* is a folder/ })
})

t.test('audit and log are two files, however their paths are written', async t => {
  const dir = t.testdir({ folder: { there: '' }, link: t.fixture('symlink', 'folder') })
  symlinkSync(join(dir, 'folder/there'), join(dir, 'other'))
  const check = (audit: string, log: string) =>
    checkLineFiles(
      loadConfig({ argv: ['--data.dir', dir, '--audit.file', audit, '--log.file', log], env: {} }),
    )
  for (const [audit, log] of [
    [join(dir, 'new'), join(dir, 'new')],
    [join(dir, 'new'), join(dir, 'folder/../new')],
    [join(dir, 'folder/new'), join(dir, 'link/new')],
    [join(dir, 'folder/there'), join(dir, 'other')],
    [join(dir, 'link/there'), join(dir, 'folder/there')],
  ] as const)
    t.throws(() => check(audit, log), { message: /^audit\.file: must not be log\.file/ }, `${audit} ${log}`)
  for (const [audit, log] of [
    [join(dir, 'new'), ''],
    ['', ''],
    [join(dir, 'new'), join(dir, 'newer')],
    [join(dir, 'folder/there'), join(dir, 'new')],
    ['/dev/null', '/dev/null'],
  ] as const)
    t.doesNotThrow(() => check(audit, log), `${audit} ${log}`)
})
