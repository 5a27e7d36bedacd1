import t, { type Test } from 'tap'
import { createLogger } from '../../src/core/log.js'

/** A logger and the lines that it wrote. */
function captured(pretty: 'always' | 'never', level = 'info') {
  const lines: string[] = []
  return { lines, log: createLogger({ level, pretty }, { write: line => lines.push(line) }) }
}

const only = (t: Test, lines: string[]) => {
  t.equal(lines.length, 1)
  return JSON.parse(lines[0] ?? '')
}

t.test('a line is JSON with time, level, event, fields and text, and nothing else', async t => {
  const { log, lines } = captured('never')
  log.info({ event: 'socket.opened', socketId: 7 }, 'opened')
  const { time, ...rest } = only(t, lines)
  t.strictSame(rest, { level: 'info', event: 'socket.opened', socketId: 7, msg: 'opened' })
  t.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
})

t.test('secrets and content are masked, at the top and one level down', async t => {
  const { log, lines } = captured('never')
  const secrets = Object.fromEntries(
    ['password', 'passwordHash', 'token', 'authorization', 'content', 'text', 'payload'].map(name => [
      name,
      'hunter2',
    ]),
  )
  log.info({ ...secrets, request: secrets, userId: '123456789' }, 'leak')
  t.notMatch(lines[0], 'hunter2')
  t.match(only(t, lines), { password: '[Redacted]', request: { token: '[Redacted]' }, userId: '123456789' })
})

t.test('a child keeps the masks', async t => {
  const { log, lines } = captured('never')
  log.child({ socketId: 1 }).info({ password: 'hunter2' }, 'leak')
  t.match(only(t, lines), { socketId: 1, password: '[Redacted]' })
})

t.test(
  'so are those of an error, also where it is the line itself; the caller keeps what it passed',
  async t => {
    const { log, lines } = captured('never')
    const err = Object.assign(new Error('no'), { password: 'hunter2', code: 7 })
    const about = { err, request: { token: 'hunter2', refresh: undefined } }
    log.info(about, 'leak')
    log.info(err)
    for (const odd of [null, undefined, 'text', 7]) log.info({ err: odd }, 'odd')
    t.notMatch(lines.join(''), 'hunter2')
    t.match(JSON.parse(lines[0] ?? ''), {
      err: { message: 'no', code: 7, password: '[Redacted]' },
      request: { token: '[Redacted]' },
    })
    t.match(JSON.parse(lines[1] ?? ''), { err: { code: 7, password: '[Redacted]' } })
    t.strictSame(about.request, { token: 'hunter2', refresh: undefined })
    t.equal(err.password, 'hunter2')
  },
)

t.test('an error is written with its stack and cause', async t => {
  const { log, lines } = captured('never')
  log.error({ event: 'store.failed', err: new Error('outer', { cause: new Error('inner') }) }, 'failed')
  t.match(only(t, lines), { err: { message: 'outer: inner', stack: /log\.test/ } })
})

t.test('what clients are called does nothing to a terminal, whichever form lines have', async t => {
  const text = 'x\u001b[31m\u009b2J\r\b\u007f\u202e\u2028\u0007\\u001b\\'
  const json = captured('never')
  json.log.warn({ device: text, err: new Error(text) }, text)
  t.match(only(t, json.lines), { device: text, msg: text }, 'and reads the same')
  const pretty = captured('always')
  pretty.log.warn({ device: text, inner: { device: text }, err: new Error(text) }, text)
  const shown = `${json.lines.join('')}${pretty.lines.join('')}`
  // The colours are of the program.
  const uncoloured = shown.split(/\p{Cc}\[\d+m/u).join('')
  t.notMatch(uncoloured, /[^\P{Cc}\n]|[\u2028-\u202e]/u)
  t.notMatch(shown, 'x\u001b[31m')
  t.match(shown, 'x\\u001b[31m')
})

t.test('below the level nothing is written', async t => {
  const { log, lines } = captured('never', 'warn')
  log.info('no')
  log.warn('yes')
  t.match(only(t, lines), { msg: 'yes' })
  const silent = captured('never', 'silent')
  silent.log.fatal('no')
  t.same(silent.lines, [])
})

t.test('pretty lines are readable, and written immediately', async t => {
  const { log, lines } = captured('always')
  log.info({ event: 'gateway.ready', http: { port: 1 } }, 'ready')
  t.equal(lines.length, 1)
  t.match(lines[0], /INFO.*gateway\.ready.*ready/)
  t.throws(() => JSON.parse(lines[0] ?? ''))
})
