/** Small rules at the edge of the process: HTTP, sockets, limits, files, faults. */
import { execFileSync } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import t from 'tap'
import { passwordCheck } from '../../src/accounts/password-rules.js'
import { openAudit } from '../../src/core/audit.js'
import { Faults, guarded } from '../../src/core/faults.js'
import type { Logger } from '../../src/core/log.js'
import { Metrics } from '../../src/core/metrics.js'
import { exposedFiles } from '../../src/core/private-files.js'
import { checkRegular } from '../../src/core/regular-file.js'
import { TurnEnd } from '../../src/flow/turn-end.js'
import { Turnstile } from '../../src/flow/turnstile.js'
import { isRead, pathOf, testRoute } from '../../src/http/answers.js'
import { HttpInput } from '../../src/http/input.js'
import { opsRoute } from '../../src/http/ops.js'
import { originCheck } from '../../src/http/origins.js'
import { MAX_REQUESTS_PER_SOCKET, Pipeline } from '../../src/http/pipeline.js'
import { ControlFrames } from '../../src/limits/control-frames.js'
import { askedLocale } from '../../src/net/asked-locale.js'
import { fileLimit } from '../../src/net/file-limit.js'
import { Ponger } from '../../src/net/pong.js'
import { loadContext, TlsError } from '../../src/net/tls.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'

const turn = () => new Promise(resolve => setImmediate(resolve))

t.test('origins: exact ones, or one label below a name; an empty list allows all', async t => {
  t.ok(originCheck([])('https://any.example'))
  const isAllowed = originCheck(['https://chat.example', 'https://*.web.example', 'null'])
  for (const origin of ['https://chat.example', 'https://a.web.example', 'https://a_b.web.example', 'null'])
    t.ok(isAllowed(origin), origin)
  for (const origin of [
    'http://chat.example',
    'https://chat.example:8443',
    'https://web.example',
    'https://a.b.web.example',
    'https://.web.example',
    'https://-a.web.example',
    'https://evil.example/.web.example',
  ])
    t.notOk(isAllowed(origin), origin)
})

function respond(
  route: (request: IncomingMessage, response: ServerResponse) => boolean,
  url: string,
  method = 'GET',
) {
  const sent: { status?: number; body?: string } = {}
  const response = {
    headersSent: false,
    writeHead(status: number) {
      sent.status = status
      return response
    },
    end: (body: string) => {
      sent.body = body
    },
  }
  const isMine = route({ url, method } as IncomingMessage, response as unknown as ServerResponse)
  return { isMine, sent }
}

t.test('answers: only GET and HEAD of the path, whatever its query', async t => {
  t.match(respond(testRoute, '/test?x=1'), {
    isMine: true,
    sent: { status: 200, body: '{"message":"test"}' },
  })
  t.ok(respond(testRoute, '/test', 'HEAD').isMine)
  for (const [url, method] of [
    ['/test/', 'GET'],
    ['/test', 'POST'],
    ['http://h/test', 'GET'],
  ] as const)
    t.notOk(respond(testRoute, url, method).isMine)
  t.equal(pathOf({ url: undefined } as IncomingMessage), '')
  t.notOk(isRead({ method: 'DELETE' } as IncomingMessage))
})

t.test('ops: readiness with the reason; metrics are cached, and failures are not', async t => {
  let reason: string | undefined
  let gathered = 0
  const faults: string[] = []
  const route = opsRoute({
    notReady: async () => reason,
    metrics: {
      contentType: 'text/plain',
      metrics: async () => {
        if (++gathered === 1) throw new Error('first')
        return `m ${gathered}`
      },
    },
    cacheMs: 60_000,
    health: true,
    onFault: where => void faults.push(where),
  })
  const ask = async (url: string) => {
    const { sent } = respond(route, url)
    await turn()
    return sent
  }
  t.match(await ask('/healthz'), { status: 200 })
  t.match(await ask('/readyz'), { status: 200, body: '{"status":"ready"}' })
  reason = 'closing'
  t.match(await ask('/readyz'), { status: 503, body: /closing/ })
  t.match(await ask('/metrics'), { status: 500 })
  t.same(faults, ['http.request'])
  t.match(await ask('/metrics'), { status: 200, body: 'm 2' })
  t.match(await ask('/metrics'), { body: 'm 2' })
  t.notOk(respond(route, '/none').isMine)
  const none = opsRoute({
    notReady: async () => undefined,
    metrics: undefined,
    cacheMs: 0,
    health: false,
    onFault: () => undefined,
  })
  for (const url of ['/healthz', '/readyz', '/metrics']) t.notOk(respond(none, url).isMine)
})

/** A socket that reads nothing by itself, with a parser as Node's. */
function parsed() {
  const pieces: Buffer[] = []
  const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() }) as Socket
  socket.on('data', (piece: Buffer) => void pieces.push(piece))
  return { socket, pieces }
}

t.test('HttpInput: the parser gets small pieces, and none after the end', async t => {
  const { socket, pieces } = parsed()
  const input = new HttpInput(socket, new Turnstile(1))
  socket.emit('data', Buffer.alloc(600))
  t.same(
    pieces.map(({ length }) => length),
    [256, 256, 88],
  )
  input.stop()
  socket.emit('data', Buffer.alloc(10))
  t.equal(pieces.length, 3)
  t.ok(input.isOver)
})

t.test(
  'HttpInput: a handshake that is the first to come waits for its turn, and all else does not',
  async t => {
    const entrance = new Turnstile(1)
    const handshake = Buffer.from('GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n')
    const [first, second, third] = [parsed(), parsed(), parsed()]
    const inputs = [first, second, third].map(({ socket }) => new HttpInput(socket, entrance))
    for (const { socket } of [first, second]) socket.emit('data', handshake)
    t.same([first.pieces.length, second.pieces.length], [1, 0])
    t.ok(second.socket.isPaused(), 'no more of it is read')
    third.socket.emit('data', Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    third.socket.emit('data', handshake)
    t.equal(third.pieces.length, 2, 'a page, and what comes later on its connection')
    await new Promise(setImmediate)
    t.equal(second.pieces.length, 1)
    t.notOk(second.socket.isPaused())
    t.same(
      inputs.map(({ hasTurn }) => hasTurn),
      [false, false, false],
    )
  },
)

t.test('HttpInput: what waits for its turn is forgotten when the connection ends', async t => {
  const entrance = new Turnstile(1)
  entrance.passes()
  const { socket, pieces } = parsed()
  const input = new HttpInput(socket, entrance)
  socket.emit('data', Buffer.from('upgrade:'))
  input.stop()
  await new Promise(setImmediate)
  t.same(pieces, [])
})

t.test('HttpInput: detach returns what was not parsed', async t => {
  const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() }) as Socket
  let rest: Buffer | undefined
  // The parser sees an upgrade in the first piece.
  socket.on('data', () => (rest = input.detach()))
  const input = new HttpInput(socket, new Turnstile(1))
  socket.emit('data', Buffer.alloc(600))
  t.equal(rest?.length, 600 - 256)
  t.equal(socket.listenerCount('data'), 0)
})

t.test('Pipeline: the next step waits for all answers; a connection has a last request', async t => {
  const { socket } = parsed()
  const pipeline = new Pipeline(socket, new Turnstile(1))
  const responses = [new EventEmitter(), new EventEmitter()]
  for (const response of responses) pipeline.enter(response as ServerResponse)
  const done: string[] = []
  pipeline.whenFree(() => done.push('first'))
  pipeline.whenFree(() => done.push('second'))
  responses[0]?.emit('finish')
  t.same([done, pipeline.open], [[], 1])
  responses[1]?.emit('finish')
  t.same(done, ['first'], 'one at most waits')
  pipeline.whenFree(() => done.push('now'))
  t.same(done, ['first', 'now'])
  t.ok(pipeline.mayUpgrade)
  for (let i = 2; i < MAX_REQUESTS_PER_SOCKET; i++) pipeline.enter(new EventEmitter() as ServerResponse)
  t.ok(pipeline.isAtEnd)
  t.notOk(pipeline.mayUpgrade)
})

t.test('askedLocale: accepts the two languages', async t => {
  for (const [path, locale] of [
    ['/?lang=en', 'en'],
    ['/?x=1&lang=zh-TW', 'zh-TW'],
    ['/?lang=fr', undefined],
    ['/', undefined],
    [undefined, undefined],
  ] as const)
    t.equal(askedLocale(path), locale, String(path))
})

t.test(
  'Ponger: one pong per turn, for the last ping; the next one waits until the socket took it',
  async t => {
    const pongs: string[] = []
    let sent: () => void = () => undefined
    const ws = {
      readyState: 1,
      OPEN: 1,
      pong: (payload: Buffer, _mask: boolean, done: () => void) => {
        pongs.push(payload.toString())
        sent = done
      },
    }
    const ponger = new Ponger(ws, new TurnEnd())
    ponger.pinged(Buffer.from('1'))
    ponger.pinged(Buffer.from('2'))
    await turn()
    t.same(pongs, ['2'])
    ponger.pinged(Buffer.from('3'))
    await turn()
    t.same(pongs, ['2'])
    sent()
    await turn()
    t.same(pongs, ['2', '3'])
    sent()
    ws.readyState = 3
    ponger.pinged(Buffer.from('4'))
    await turn()
    t.equal(pongs.length, 2)
  },
)

t.test(
  'ControlFrames: pongs to our pings are free; other frames count, and a burst is reported once',
  async t => {
    let over = 0
    const frames = new ControlFrames({ perSecond: 0.001, burst: 1 }, () => over++)
    frames.pinged()
    t.equal(frames.take('pong'), 0)
    t.equal(frames.take('pong'), 0, 'one is in the bucket')
    t.equal(frames.take('pong'), 60_000, 'a minute at most')
    t.equal(frames.take('ping'), 60_000)
    t.equal(over, 1)
  },
)

t.test('passwords: length in code points of NFC, no control characters, none of the most common', async t => {
  const check = await passwordCheck({ minLength: 4, common: 'refuse' })
  const bad = ofKind('BAD_FIELD', { info: { field: 'password' } })
  t.doesNotThrow(() => check('password', '😀😀😀😀'))
  for (const password of ['😀😀😀', 'e\u0301e\u0301e\u0301', 'pass\tword', 'Password', '12345678'])
    t.throws(() => check('password', password), bad, JSON.stringify(password))
  const lax = await passwordCheck({ minLength: 1, common: 'allow' })
  t.doesNotThrow(() => lax('password', 'password'))
})

t.test('faults: an exception of a handler is counted and logged, and ends its connection', async t => {
  const lines: { event: string }[] = []
  const log = {
    error: (line: { event: string }) => void lines.push(line),
    fatal: (line: { event: string }) => void lines.push(line),
  }
  const metrics = new Metrics()
  const faults = new Faults(log as unknown as Logger, metrics)
  let ends = 0
  const handler = guarded('ws.message', { onFault: faults.report, end: () => void ends++ }, (n: number) => {
    if (n > 1) throw new Error('two')
  })
  handler(1)
  t.equal(ends, 0)
  handler(2)
  faults.reportUnknown(new Error('unknown'))
  t.equal(ends, 1)
  t.same(
    lines.map(({ event }) => event),
    ['handler.failed', 'process.failed'],
  )
  t.match(await metrics.registry.metrics(), /where="ws.message"\} 1/)
})

t.test('audit: one line per entry, readable only by the owner; none after close', async t => {
  const file = join(dataDir(t), 'lines')
  const audit = await openAudit(file, { onError: () => undefined, onDropped: () => undefined })
  audit.record({ event: 'logout', userId: '271693512' })
  await audit.close()
  await audit.close()
  audit.record({ event: 'logout' })
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  t.equal(lines.length, 1)
  t.match(JSON.parse(lines[0] ?? ''), { event: 'logout', userId: '271693512' })
  t.equal(statSync(file).mode & 0o777, 0o600)
})

t.test('private files: exposed files are found, and tightened in folders of the gateway only', async t => {
  const dir = dataDir(t)
  const dataPath = join(dir, 'data')
  mkdirSync(join(dataPath, 'store'), { recursive: true, mode: 0o700 })
  t.same(exposedFiles({ dataDir: dataPath, lineFiles: [''] }, true), [], 'no store yet')
  const file = join(dataPath, 'store', 'data.mdb')
  writeFileSync(file, '')
  chmodSync(file, 0o644)
  t.match(exposedFiles({ dataDir: dataPath, lineFiles: [''] }, false), [
    { path: file, mode: '644', isTightened: false },
  ])
  t.match(exposedFiles({ dataDir: dataPath, lineFiles: [''] }, true), [{ isTightened: true }])
  t.same(exposedFiles({ dataDir: dataPath, lineFiles: [''] }, true), [])
  chmodSync(dataPath, 0o755)
  writeFileSync(join(dataPath, 'other'), '')
  t.match(
    exposedFiles({ dataDir: dataPath, lineFiles: [''] }, true),
    [{ path: dataPath, isTightened: false }],
    'not ours alone',
  )
})

t.test('private files: only files and folders are tightened', async t => {
  const dir = dataDir(t)
  const store = join(dir, 'data', 'store')
  mkdirSync(join(store, 'data.mdb'), { recursive: true, mode: 0o700 })
  const others = [join(store, 'data.mdb'), join(store, 'journal-1'), join(dir, 'audit')]
  for (const fifo of others.slice(1)) execFileSync('mkfifo', [fifo])
  for (const path of others) chmodSync(path, 0o666)
  t.same(exposedFiles({ dataDir: join(dir, 'data'), lineFiles: [others[2] ?? '', '/dev/null'] }, true), [])
  for (const path of others) t.equal(statSync(path).mode & 0o777, 0o666, path)
})

t.test('regular files: others are refused by name, and a missing one passes', async t => {
  const dir = dataDir(t)
  writeFileSync(join(dir, 'file'), '')
  symlinkSync('file', join(dir, 'link'))
  symlinkSync('/dev/null', join(dir, 'device'))
  for (const name of ['file', 'link', 'none']) t.doesNotThrow(() => checkRegular(join(dir, name)), name)
  for (const path of [dir, join(dir, 'device')])
    t.throws(() => checkRegular(path), { message: `${path} is not a regular file` })
})

t.test('private files: what a symbolic link leads to is told, and left as it is', async t => {
  const dir = dataDir(t)
  const [store, elsewhere] = [join(dir, 'data', 'store'), join(dir, 'elsewhere')]
  mkdirSync(store, { recursive: true, mode: 0o700 })
  writeFileSync(join(store, 'data.mdb'), '', { mode: 0o600 })
  writeFileSync(elsewhere, '')
  chmodSync(elsewhere, 0o644)
  const link = join(store, 'link')
  symlinkSync(elsewhere, link)
  symlinkSync(join(dir, 'nowhere'), join(store, 'dangling'))
  const kept = { dataDir: join(dir, 'data'), lineFiles: [''] }
  t.same(exposedFiles(kept, true), [{ path: link, mode: '644', isTightened: false }])
  t.equal(statSync(elsewhere).mode & 0o777, 0o644)
  t.same(exposedFiles({ dataDir: undefined, lineFiles: [link] }, true), [
    { path: link, mode: '644', isTightened: false },
  ])
  t.equal(statSync(elsewhere).mode & 0o777, 0o644)
  symlinkSync(join(dir, 'data'), join(dir, 'way'))
  chmodSync(join(dir, 'data'), 0o755)
  t.match(exposedFiles({ dataDir: join(dir, 'way'), lineFiles: [''] }, true)[0], { isTightened: false })
  t.equal(statSync(join(dir, 'data')).mode & 0o777, 0o755)
})

t.test('net: the file limit is a number; an invalid certificate is a TlsError', async t => {
  const limit = fileLimit()
  t.ok(limit === undefined || limit > 0)
  t.equal(fileLimit(), limit)
  const file = join(dataDir(t), 'x.pem')
  writeFileSync(file, 'none')
  t.throws(() => loadContext({ cert: file, key: file } as Parameters<typeof loadContext>[0]), TlsError)
})
