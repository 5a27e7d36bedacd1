/** How far a command is, on a terminal, and of which file. */
import { once } from 'node:events'
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { backupSize, compactSize, restoreSize } from '../../src/app/growing.js'
import { EVERY_MS, type Output, Progress } from '../../src/cli/progress.js'
import { startGateway } from '../../src/cli/start.js'
import { loadConfig } from '../../src/config/config.js'
import { createLogger } from '../../src/core/log.js'
import { dataDir } from '../helpers/gateway.js'

/** A terminal with a clock. */
function terminal({ isTTY = true, columns = 40 } = {}) {
  const written: string[] = []
  const output: Output = { isTTY, columns, write: text => written.push(text) }
  const clock = { ms: 0 }
  return { output, clock, now: () => clock.ms, take: () => written.splice(0) }
}

const CLEAR = '\r\u001b[K'

t.test('one line is written anew, not more often than somebody can read, and is gone at the end', async t => {
  const { output, clock, now, take } = terminal()
  const progress = new Progress('verify', { unit: 'rows', output, now })
  progress.at(1)
  progress.clear()
  t.same(take(), [], 'what is done at once shows nothing')
  clock.ms = EVERY_MS
  progress.at(1234)
  progress.at(1235)
  t.same(take(), [`${CLEAR}verify: 1,234 rows`])
  clock.ms *= 2
  progress.at(5000, 20_000, 'inboxes')
  t.same(take(), [`${CLEAR}verify: inboxes: 5,000 of 20,000 rows`])
  progress.clear()
  progress.clear()
  t.same(take(), [CLEAR])
})

t.test('bytes are MiB, and a narrow terminal gets what it has room for', async t => {
  const { output, clock, now, take } = terminal({ columns: 20 })
  const progress = new Progress('backup', { unit: 'bytes', output, now })
  clock.ms = EVERY_MS
  progress.at(5 << 20, 4096 * 2 ** 20)
  t.same(take(), [`${CLEAR}${'backup: 5 of 4,096 MiB'.slice(0, 19)}`])
  const unknown = terminal({ columns: 0 })
  const wide = new Progress('backup', { unit: 'bytes', output: unknown.output, now: unknown.now })
  unknown.clock.ms = EVERY_MS
  wide.at(0, 4096 * 2 ** 20)
  t.same(unknown.take(), [`${CLEAR}backup: 0 of 4,096 MiB`])
})

t.test('a file, a pipe and a program get nothing', async t => {
  for (const [isTTY, isQuiet] of [
    [false, false],
    [true, true],
  ] as const) {
    const { output, clock, now, take } = terminal({ isTTY })
    const progress = new Progress('import', { unit: 'accounts', output, isQuiet, now })
    clock.ms = EVERY_MS
    progress.at(1, 2)
    const size = () => t.fail('looked at a file for nobody')
    t.equal(await progress.watch(size as never, async () => 7), 7)
    progress.clear()
    t.same(take(), [])
  }
})

t.test('a file that grows is looked at until the work is done, or has failed', async t => {
  const { output, take } = terminal()
  const seen = new EventTarget()
  let done = 0
  const progress = new Progress('compact', {
    unit: 'bytes',
    output: {
      ...output,
      write: text => {
        output.write(text)
        seen.dispatchEvent(new Event('line'))
      },
    },
  })
  const size = () => (done++ === 0 ? undefined : { done: done << 20, of: 9 << 20 })
  await t.rejects(
    progress.watch(size, async () => {
      await once(seen as never, 'line')
      throw new Error('disk full')
    }),
    { message: 'disk full' },
  )
  t.match(take(), [/compact: \d of 9 MiB$/, CLEAR])
})

t.test('the newest part is what grows; where there is none, nothing is known', async t => {
  const dir = dataDir(t)
  const config = loadConfig({ argv: ['--data.dir', dir], env: {} })
  const file = join(dir, 'b.mdb')
  t.same(
    [backupSize(config, file), compactSize(config), restoreSize(config, file)],
    [undefined, undefined, undefined],
  )
  const make = (path: string, bytes: number, at: number) => {
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, Buffer.alloc(bytes))
    utimesSync(path, at, at)
  }
  make(join(dir, 'store', 'data.mdb'), 100, 1)
  for (const [at, bytes] of [30, 40].entries()) {
    make(join(dir, `b.mdb.part-${at}`, 'data.mdb'), bytes, at + 1)
    make(join(dir, 'store', `compact.part-${at}`, 'data.mdb'), bytes + 1, at + 1)
  }
  t.same(backupSize(config, file), { done: 40, of: 100 })
  t.same(compactSize(config), { done: 41, of: 100 })
  make(file, 60, 1)
  make(join(dir, 'store', 'restore.part'), 50, 1)
  t.same(restoreSize(config, file), { done: 50, of: 60 })
})

t.test(
  'a start says that it makes a backup before an upgrade, and leaves no line on the terminal',
  async t => {
    const dir = dataDir(t)
    mkdirSync(join(dir, 'store'))
    const old = readFileSync(new URL('../fixtures/store-0.1.0.mdb.gz', import.meta.url))
    writeFileSync(join(dir, 'store', 'data.mdb'), gunzipSync(old))
    const config = loadConfig({
      argv: ['--data.dir', dir, '--http.port=0', '--mqtt.enabled=false', '--ops.enabled=false'],
      env: {},
    })
    const lines: string[] = []
    const log = createLogger({ level: 'info', pretty: 'never' }, { write: line => void lines.push(line) })
    const { output, take } = terminal()
    const { gateway, starting } = startGateway(
      config,
      log,
      { load: () => config, leave: () => undefined },
      output,
    )
    await starting
    await gateway.close()
    const said = lines.map(line => JSON.parse(line)).filter(({ event }) => event.startsWith('store.'))
    t.match(said, [{ event: 'store.backing-up' }, { event: 'store.upgrading', backup: said[0]?.file }])
    t.match(take().at(-1) ?? CLEAR, CLEAR)
  },
)
