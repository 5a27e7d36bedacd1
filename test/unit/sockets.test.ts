/** What takes open sockets: listener, HTTP server, WebSockets and the JSON front end, each on real sockets. */
import { once } from 'node:events'
import { createServer as createHttp, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { CODES } from '../../src/core/errors.js'
import { createLogger } from '../../src/core/log.js'
import { ServerKey } from '../../src/encryption/server-key.js'
import { Later } from '../../src/flow/later.js'
import { Turnstile } from '../../src/flow/turnstile.js'
import { HttpServer, type HttpServerOptions, TURNED_AWAY } from '../../src/http/server.js'
import { InboxReader } from '../../src/inbox/reader.js'
import { JsonConnection } from '../../src/json/connection.js'
import type { ConnectionHost } from '../../src/json/host.js'
import { JsonServer } from '../../src/json/server.js'
import { ClientSocket } from '../../src/json/socket.js'
import { ControlFrames } from '../../src/limits/control-frames.js'
import { MqttWebSocketServer } from '../../src/mqtt/wire/websocket.js'
import { Listener, type ListenerOptions } from '../../src/net/listener.js'
import { TlsFiles } from '../../src/net/tls.js'
import { type PausableWebSocket, serverOptions } from '../../src/net/websocket.js'
import { JsonClient } from '../helpers/gateway.js'
import { PASSWORD, type RunningParts, startParts } from '../helpers/mqtt-parts.js'

const turn = () => new Promise(resolve => setImmediate(resolve))
const quiet = createLogger({ level: 'fatal', pretty: 'never' }, { write: () => undefined })

function client(t: Test, port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  return socket.on('error', () => undefined)
}

/** All that comes until the other side closes. */
async function textOf(socket: Socket | Duplex): Promise<string> {
  let text = ''
  socket.on('data', bytes => (text += bytes))
  await once(socket, 'close')
  return text
}

// ── net/listener ──────────────────────────────────────────────────────────────────────────────────────────

async function listening(t: Test, differing: Partial<ListenerOptions>) {
  const taken: Socket[] = []
  const listener = new Listener({
    host: '127.0.0.1',
    port: 0,
    tls: undefined,
    handshakeTimeoutMs: 10_000,
    maxSockets: 10,
    admit: () => true,
    left: () => undefined,
    farewell: Buffer.from('full'),
    onTlsError: () => undefined,
    onFull: () => undefined,
    onAcceptError: () => undefined,
    onFault: (_where, thrown) => {
      throw thrown
    },
    take: socket => void taken.push(socket),
    ...differing,
  })
  const { port } = await listener.listen()
  t.teardown(() => {
    listener.cut()
    return listener.close()
  })
  return { listener, port, taken }
}

t.test('Listener: a client that is not admitted gets the farewell and is not handed on', async t => {
  const { port, taken } = await listening(t, { admit: () => false, left: () => t.fail('it was not in') })
  const socket = client(t, port)
  socket.write('what it sends is read, so that it can read why')
  t.equal(await textOf(socket), 'full')
  t.same(taken, [])
})

t.test('Listener: one that is admitted is handed on, and leaves when it closes', async t => {
  const addresses: (string | undefined)[] = []
  let gone = () => {}
  const leaving = new Promise<void>(resolve => (gone = resolve))
  const { port, taken } = await listening(t, {
    admit: address => addresses.push(address) > 0,
    left: address => {
      addresses.push(address)
      gone()
    },
  })
  const socket = client(t, port)
  await once(socket, 'connect')
  socket.destroy()
  await leaving
  t.same([addresses, taken.length], [['127.0.0.1', '127.0.0.1'], 1])
})

t.test('Listener: close waits for the sockets that were handed on; cut ends them', async t => {
  const { listener, port } = await listening(t, {})
  const socket = client(t, port)
  await once(socket, 'connect')
  let isClosed = false
  const closed = listener.close().then(() => {
    isClosed = true
  })
  await turn()
  t.notOk(isClosed)
  listener.cut()
  await once(socket, 'close')
  await t.resolves(closed)
})

t.test('Listener: sockets over the limit are closed and counted; a port in use is an error', async t => {
  let full = () => {}
  const isFull = new Promise<void>(resolve => (full = resolve))
  const { port, taken } = await listening(t, { maxSockets: 1, onFull: full })
  await once(client(t, port), 'connect')
  t.equal(await textOf(client(t, port)), '')
  await isFull
  t.equal(taken.length, 1)
  await t.rejects(listening(t, { port }), { code: 'EADDRINUSE' })
})

t.test('Listener: a handler that throws is reported, and its socket is closed', async t => {
  const faults: string[] = []
  const { port } = await listening(t, {
    take: () => {
      throw new Error('handler')
    },
    onFault: where => void faults.push(where),
  })
  t.equal(await textOf(client(t, port)), '')
  t.same(faults, ['socket'])
})

t.test(
  'Listener: over TLS a socket is handed on behind the handshake, or turned away without one',
  async t => {
    const pem = (name: string) => fileURLToPath(new URL(`../helpers/tls/${name}.pem`, import.meta.url))
    const files = { cert: pem('new.cert'), key: pem('new.key'), minVersion: 'TLSv1.2', ciphers: '' } as const
    const tls = new TlsFiles({ ...files, watchMs: 0 }, quiet)
    t.teardown(() => tls.close())
    let failed = (_code: unknown) => {}
    const failure = new Promise(resolve => (failed = resolve))
    let isAdmitted = true
    const { port, taken } = await listening(t, {
      tls,
      admit: () => isAdmitted,
      onTlsError: (error: NodeJS.ErrnoException) => failed(error.code),
      take: socket => socket.end('secret'),
    })
    t.equal(await textOf(connectTls({ port, rejectUnauthorized: false })), 'secret')
    client(t, port).write('GET / HTTP/1.1\r\n\r\n')
    t.equal(await failure, 'ERR_SSL_HTTP_REQUEST')
    t.same(taken, [])
    isAdmitted = false
    t.equal(await textOf(client(t, port)), '')
  },
)

// ── http/server ───────────────────────────────────────────────────────────────────────────────────────────

async function http(t: Test, differing: Partial<HttpServerOptions> = {}) {
  const server = new HttpServer({
    links: [],
    routes: [],
    upgrades: new Map([['/', (_request, socket) => socket.end('upgraded')]]),
    handshakeTimeoutMs: 10_000,
    clientOf: peer => peer,
    refusal: () => undefined,
    entrance: new Turnstile(100),
    mayAsk: () => true,
    isStranger: () => false,
    onTimeout: () => undefined,
    onFault: (_where, thrown) => {
      throw thrown
    },
    ...differing,
  })
  const { port } = await listening(t, { take: socket => server.take(socket) })
  /** Sends bytes. @returns all that comes until the connection closes */
  const send = (...requests: string[]) => {
    const socket = client(t, port)
    socket.write(requests.join(''))
    return textOf(socket)
  }
  return { server, send, port }
}

const LAST = 'Host: h\r\nConnection: close\r\n'
const UPGRADE = 'Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
const statuses = (text: string) =>
  [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status))

t.test('HTTP: / answers with a page, or 426 for other methods; other paths are 404', async t => {
  const { send } = await http(t)
  t.match(await send(`GET / HTTP/1.1\r\n${LAST}\r\n`), /^HTTP\/1\.1 200 OK[\s\S]*connect with <code>ws:/)
  t.match(await send(`POST / HTTP/1.1\r\n${LAST}\r\n`), /^HTTP\/1\.1 426 [\s\S]*Upgrade: websocket/)
  t.match(await send(`GET /none HTTP/1.1\r\n${LAST}\r\n`), /^HTTP\/1\.1 404 /)
  const ops = await http(t, { upgrades: new Map() })
  t.match(await ops.send(`GET / HTTP/1.1\r\n${LAST}\r\n`), /^HTTP\/1\.1 404 /)
})

t.test('HTTP: a request over the rate is refused, and the connection ends with it', async t => {
  let asked = 0
  const { send } = await http(t, { mayAsk: () => ++asked === 1 })
  const ask = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'
  const text = await send(ask, ask, ask)
  t.same(statuses(text), [200, 429])
  t.match(text, 'Retry-After: 10')
})

t.test('HTTP: a stranger has 16 requests without an answer at most, a client 100', async t => {
  for (const [isStranger, most] of [
    [true, 16],
    [false, 100],
  ] as const) {
    const held: (() => void)[] = []
    const routes: HttpServerOptions['routes'] = [(_request, response) => held.push(() => response.end()) > 0]
    const { send } = await http(t, { routes, isStranger: () => isStranger })
    const answers = send('GET / HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(most + 5))
    while (held.length < most) await turn()
    await turn()
    for (const answer of held) answer()
    t.same(statuses(await answers), [...Array(most).fill(200), 429])
    t.equal(held.length, most)
  }
})

t.test('HTTP: no Host, a body in chunks and what is no HTTP end the connection', async t => {
  const { send } = await http(t)
  const next = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'
  t.same(statuses(await send('GET / HTTP/1.1\r\n\r\n', next)), [400])
  t.same(
    statuses(await send('POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', next)),
    [426],
  )
  t.same(statuses(await send(next, 'nonsense\r\n\r\n')), [200, 400], 'behind the answer to what was good')
})

t.test(
  'HTTP: an upgrade is taken at its path, or refused with a status; other protocols are passed over',
  async t => {
    const addresses: unknown[] = []
    const { send } = await http(t, {
      clientOf: (_peer, forwardedFor) => forwardedFor,
      upgrades: new Map([
        [
          '/',
          (_request, socket, _head, address) => {
            addresses.push(address)
            socket.end('upgraded')
          },
        ],
      ]),
      refusal: ({ headers }) => (headers.origin === undefined ? undefined : { status: '403 Forbidden' }),
    })
    const forwarded = 'X-Forwarded-For: 192.0.2.1\r\n'
    t.equal(await send(`GET / HTTP/1.1\r\n${UPGRADE}${forwarded}\r\n`), 'upgraded')
    t.same(addresses, ['192.0.2.1'])
    t.same(statuses(await send(`GET / HTTP/1.1\r\n${UPGRADE}Origin: http://evil\r\n\r\n`)), [403])
    t.same(statuses(await send(`GET /other HTTP/1.1\r\n${UPGRADE}\r\n`)), [404])
    t.same(statuses(await send(`GET / HTTP/1.1\r\n${UPGRADE.replace('websocket', 'h2c')}\r\n`)), [200])
  },
)

t.test('HTTP: a connection without a request ends in time; `close` ends plain ones alone', async t => {
  let timedOut = 0
  const late = await http(t, { handshakeTimeoutMs: 1, onTimeout: () => timedOut++ })
  t.equal(await late.send(), '')
  t.equal(timedOut, 1)
  const upgraded: Duplex[] = []
  const { server, port } = await http(t, {
    upgrades: new Map([['/', (_request, socket) => void upgraded.push(socket)]]),
  })
  const [plain, webSocket] = [client(t, port), client(t, port)]
  await Promise.all([once(plain, 'connect'), once(webSocket, 'connect')])
  webSocket.write(`GET / HTTP/1.1\r\n${UPGRADE}\r\n`)
  while (upgraded.length === 0) await turn()
  server.close()
  await once(plain, 'close')
  t.notOk(upgraded[0]?.destroyed)
})

t.test('HTTP: a route that throws is reported, and its connection is closed', async t => {
  const faults: string[] = []
  const routes: HttpServerOptions['routes'] = [
    () => {
      throw new Error('route')
    },
  ]
  const { send } = await http(t, { routes, onFault: where => void faults.push(where) })
  t.equal(await send(`GET / HTTP/1.1\r\n${LAST}\r\n`), '')
  t.same(faults, ['http.request'])
  t.match(TURNED_AWAY.toString(), /^HTTP\/1\.1 429 [\s\S]*\r\n\r\n$/)
})

// ── net/websocket ─────────────────────────────────────────────────────────────────────────────────────────

type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void

/** A server for upgrades alone. @returns its port */
async function upgrades(t: Test, upgrade: Upgrade): Promise<number> {
  const server = createHttp().on('upgrade', upgrade).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Both ends of a WebSocket; the server's is a PausableWebSocket. */
async function pair(t: Test, maxPayload = 1000) {
  const wss = new WebSocketServer(serverOptions(maxPayload))
  let opened = (_: { ws: PausableWebSocket; socket: Socket }) => {}
  const opening = new Promise<{ ws: PausableWebSocket; socket: Socket }>(resolve => (opened = resolve))
  const port = await upgrades(t, (request, socket, head) =>
    wss.handleUpgrade(request, socket, head, ws => opened({ ws, socket: request.socket })),
  )
  const other = new WebSocket(`ws://127.0.0.1:${port}/`)
  t.teardown(() => other.terminate())
  await once(other, 'open')
  return { ...(await opening), other }
}

/** Frames of text without a mask's effect (RFC 6455 5.2). */
const frames = (count: number, opcode = 1, text = 'x') =>
  Buffer.concat(
    Array.from({ length: count }, () =>
      Buffer.concat([Buffer.of(0x80 | opcode, 0x80 | text.length, 0, 0, 0, 0), Buffer.from(text)]),
    ),
  )

/** Below ws: what it would write in many pieces goes in one. */
const rawWrite = (ws: WebSocket, bytes: Buffer) => (Reflect.get(ws, '_socket') as Socket).write(bytes)

t.test('WebSocket: a pause holds what was read; resume goes on with it', async t => {
  const { ws, other } = await pair(t)
  let count = 0
  ws.on('message', () => {
    if (++count === 3) ws.pause()
  })
  rawWrite(other, frames(100))
  while (count === 0) await turn()
  for (let i = 0; i < 5; i++) await turn()
  t.equal(count, 3)
  ws.resume()
  while (count < 100) await turn()
  t.equal(count, 100)
})

t.test('WebSocket: a turn ends where it is told to', async t => {
  const { ws, other } = await pair(t)
  const turns = new Set<number>()
  let now = 0
  let count = 0
  ws.on('message', () => {
    turns.add(now)
    if (++count === 1) setImmediate(() => now++)
    ws.endTurn()
  })
  rawWrite(other, frames(10))
  while (count < 10) await turn()
  t.ok(turns.size > 1)
})

t.test('WebSocket: nothing comes behind terminate', async t => {
  const { ws, other } = await pair(t)
  let count = 0
  ws.on('message', () => {
    count++
    ws.terminate()
  })
  rawWrite(other, frames(100))
  await once(ws, 'close')
  t.equal(count, 1)
})

t.test('WebSocket: a longer message closes with 1009, and pings are not answered by ws', async t => {
  const { ws, other } = await pair(t, 10)
  ws.on('error', () => undefined)
  let pongs = 0
  other.on('pong', () => pongs++)
  other.ping()
  await once(ws, 'ping')
  other.send('12345678901')
  const [code] = await once(other, 'close')
  t.same([code, pongs], [1009, 0])
})

// ── mqtt/wire/websocket ───────────────────────────────────────────────────────────────────────────────────

async function mqttServer(t: Test) {
  const streams: { stream: Duplex; client: unknown }[] = []
  const limits = {
    controlFrames: () => new ControlFrames({ perSecond: 9, burst: 9 }, () => undefined),
  }
  const server = new MqttWebSocketServer(
    { frame: 100, frameBeforeConnack: 50 },
    (stream, _ws, client) => streams.push({ stream, client }),
    limits,
  )
  const port = await upgrades(t, (...upgrade) => server.upgrade(...upgrade, '192.0.2.1'))
  const open = (...protocols: string[]) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}/?lang=en`, protocols)
    t.teardown(() => ws.terminate())
    return ws
  }
  return { open, streams }
}

t.test('MQTT over WebSocket: before the first answer messages are shorter', async t => {
  const { open, streams } = await mqttServer(t)
  const ws = open('mqtt')
  await once(ws, 'open')
  while (streams.length === 0) await turn()
  const [{ stream } = { stream: new Duplex() }] = streams
  const taken = async (bytes: number) => {
    const data = once(stream, 'data')
    ws.send(Buffer.alloc(bytes))
    return (await data)[0].length
  }
  t.equal(await taken(50), 50)
  const answer = once(ws, 'message')
  stream.write('connack')
  await answer
  t.equal(await taken(100), 100)
  const early = open('mqtt')
  await once(early, 'open')
  while (streams.length < 2) await turn()
  streams[1]?.stream.on('error', () => undefined)
  early.send(Buffer.alloc(51))
  t.equal((await once(early, 'close'))[0], 1009)
})

t.test('MQTT over WebSocket: the client asks for the subprotocol [MQTT-6.0.0-3]', async t => {
  const { open, streams } = await mqttServer(t)
  for (const protocols of [[], ['chat']]) {
    const [error] = await once(open(...protocols), 'error')
    t.match(error, { message: 'Unexpected server response: 400' })
  }
  t.equal(streams.length, 0)
  for (const [offered, spoken] of [
    [['mqtt'], 'mqtt'],
    [['chat', 'mqttv3.1', 'mqtt'], 'mqtt'],
    [['mqttv3.1'], 'mqttv3.1'],
  ] as const) {
    const ws = open(...offered)
    await once(ws, 'open')
    t.equal(ws.protocol, spoken)
  }
  t.match(streams[0]?.client, { address: '192.0.2.1', locale: 'en' })
})

t.test('MQTT over WebSocket: bytes both ways; a text frame ends the connection [MQTT-6.0.0-1]', async t => {
  const { open, streams } = await mqttServer(t)
  const ws = open('mqtt')
  await once(ws, 'open')
  const stream = streams[0]?.stream
  ws.send(Buffer.from('in'))
  const [read] = await once(stream as Duplex, 'data')
  t.equal(String(read), 'in')
  stream?.write('out')
  const [written, isBinary] = await once(ws, 'message')
  t.same([String(written), isBinary], ['out', true])
  ws.send('text')
  const [code] = await once(ws, 'close')
  t.equal(code, 1003)
})

t.test('MQTT over WebSocket: behind 1000 messages before the first answer it is cut off', async t => {
  const { open, streams } = await mqttServer(t)
  const ws = open('mqtt')
  await once(ws, 'open')
  let count = 0
  streams[0]?.stream.on('error', () => undefined).on('data', () => count++)
  rawWrite(ws, frames(2000, 2))
  await once(ws, 'close')
  t.equal(count, 1001)
})

// ── json/server ───────────────────────────────────────────────────────────────────────────────────────────

const RULES = {
  encryption: 'allow',
  maxPipelined: 100,
  maxRefusals: 100,
  maxBufferedBytes: 1_000_000,
  maxMessageBeforeLogin: 1000,
  loginTimeoutMs: 60_000,
  pingIntervalMs: 60_000,
  pingTimeoutMs: 10_000,
  stallTimeoutMs: 60_000,
} as const

const KEY = ServerKey.generate()

let started: Promise<RunningParts> | undefined
/** One store for all: to open it takes longer than the tests. */
const running = () => {
  started ??= startParts(t)
  return started
}

async function jsonServer(t: Test) {
  const { parts } = await running()
  const { services, metrics } = parts
  const server = new JsonServer(services, metrics, {
    ...RULES,
    key: KEY,
    maxMessageBytes: 1000,
    locale: 'zh-TW',
    onFault: (_where, thrown) => {
      throw thrown
    },
    windowMessages: 10,
    windowChars: 1000,
  })
  t.teardown(() => server.close(0))
  const port = await upgrades(t, (...upgrade) => server.upgrade(...upgrade, '192.0.2.1'))
  const open = (path = '/') => {
    const one = new JsonClient(new WebSocket(`ws://127.0.0.1:${port}${path}`))
    t.teardown(() => one.ws.terminate())
    return one
  }
  return { server, open, metrics }
}

t.test('JSON: greets first, and answers in the language that was asked for', async t => {
  const { server, open, metrics } = await jsonServer(t)
  for (const [path, locale] of [
    ['/', 'zh-TW'],
    ['/?lang=en', 'en'],
  ] as const) {
    const one = open(path)
    t.match(await one.nextText(), KEY.public)
    t.equal((await one.ask({ type: 'x' })).msg, CODES.UNKNOWN_REQUEST[locale])
  }
  t.equal(server.connections, 2)
  t.match(await metrics.registry.metrics(), /mumi_connections\{front="json"\} 2/)
})

t.test('JSON: while the server closes requests are refused; then every client is sent away', async t => {
  const { server, open, metrics } = await jsonServer(t)
  const one = open()
  await one.nextText()
  server.stopTaking()
  t.equal((await one.ask({ type: 'action', action: 'query', data: {} })).code, CODES.SHUTDOWN.code)
  const closing = server.close(60_000)
  t.same(await one.closed, [1001, 'SHUTDOWN'])
  await closing
  t.equal(server.connections, 0)
  t.match(await metrics.registry.metrics(), /mumi_connections\{front="json"\} 0/)
})

t.test('JSON: a client that does not close its side is cut off when the time is over', async t => {
  const { server, open } = await jsonServer(t)
  const one = open()
  await one.nextText()
  one.ws.pause()
  await server.close(1)
  t.equal(server.connections, 0)
  one.ws.resume()
  await one.closed
})

// ── json/socket ───────────────────────────────────────────────────────────────────────────────────────────

/** Both ends of a WebSocket; the server's is a ClientSocket. */
async function jsonPair(t: Test) {
  let opened = (_: ClientSocket) => {}
  const opening = new Promise<ClientSocket>(resolve => (opened = resolve))
  const port = await upgrades(t, (request, _socket, head) => {
    const ws = ClientSocket.accept(request, head, 1000)
    if (ws !== undefined) opened(ws)
  })
  const other = new WebSocket(`ws://127.0.0.1:${port}/`)
  t.teardown(() => other.terminate())
  const isOpen = once(other, 'open')
  const ws = await opening
  await isOpen
  return { ws, other }
}

/** What the owner of a socket is told. @param hook called at each, with the socket and how much it was told so far */
async function owned(t: Test, hook: (ws: ClientSocket, count: number) => void = () => undefined) {
  const { ws, other } = await jsonPair(t)
  const told: string[] = []
  const tell = (what: string) => {
    told.push(what)
    hook(ws, told.length)
  }
  const flushed: boolean[] = []
  ws.listen(
    {
      received: data => tell(`received ${data}`),
      pinged: data => tell(`pinged ${data}`),
      ponged: data => tell(`ponged ${data}`),
      drained: () => tell('drained'),
      clientLeft: saidSo => tell(`left ${saidSo}`),
      failed: code => tell(`failed ${code}`),
      fault: where => {
        told.push(`fault ${where}`)
        ws.terminate()
      },
    },
    { flush: () => void flushed.push(ws.isOpen) },
  )
  const heard = async (count: number) => {
    while (told.length < count) await turn()
    return told
  }
  return { ws, other, told, heard, flushed }
}

t.test('JSON socket: what an owner throws is a fault by the name of the event', async t => {
  const fail = () => {
    throw new Error('planted')
  }
  for (const [name, send] of [
    ['ws.message', (one: WebSocket) => one.send('x')],
    ['ws.ping', (one: WebSocket) => one.ping()],
    ['ws.pong', (one: WebSocket) => one.pong()],
  ] as const) {
    const { other, heard } = await owned(t, fail)
    send(other)
    t.match(await heard(4), [/./, `fault ${name}`, 'left false', 'fault ws.close'])
  }
  const { ws, heard } = await owned(t, fail)
  ws.socket.emit('drain')
  t.same((await heard(2)).slice(0, 2), ['drained', 'fault ws.drain'])
})

t.test('JSON socket: a close frame is answered by the same code, and the owner hears of the end', async t => {
  const { ws, other, heard, flushed } = await owned(t)
  other.close(4321, 'bye')
  const [code, reason] = await once(other, 'close')
  t.same([code, String(reason)], [4321, 'bye'])
  t.same(flushed, [true], 'what was written leaves before the answer')
  t.same(await heard(1), ['left true'])
  t.notOk(ws.isOpen)
  t.equal(ws.readyState, 3)
})

t.test('JSON socket: its own close frame; a client that is lost, or that ends, says nothing', async t => {
  const one = await owned(t)
  one.ws.close(1001, 'SHUTDOWN')
  one.ws.close(1000, 'again')
  const [code, reason] = await once(one.other, 'close')
  t.same([code, String(reason)], [1001, 'SHUTDOWN'])
  t.same(await one.heard(1), ['left true'])
  for (const leave of [
    (socket: Socket) => socket.destroy(),
    (socket: Socket) => socket.end(),
    (socket: Socket) => socket.resetAndDestroy(),
  ]) {
    const lost = await owned(t)
    leave(Reflect.get(lost.other, '_socket'))
    t.same(await lost.heard(1), ['left false'])
    t.notOk(lost.ws.isOpen)
  }
})

t.test('JSON socket: of a broken frame both are told, and nothing behind it is taken', async t => {
  const { other, heard } = await owned(t)
  rawWrite(other, Buffer.concat([frames(1), Buffer.of(0x81, 1, 0x61), frames(9)]))
  const [code] = await once(other, 'close')
  t.equal(code, 1002)
  t.match(await heard(3), ['received x', 'failed 1002', /left/])
  const wrong = await owned(t)
  rawWrite(wrong.other, frames(1, 8, 'x'))
  t.equal((await once(wrong.other, 'close'))[0], 1002)
})

t.test('JSON socket: a pause holds what was read, unless the client is trusted; resume goes on', async t => {
  for (const isTrusted of [false, true]) {
    const { ws, other, told, heard } = await owned(t, (socket, count) => {
      if (count === 3) socket.pause()
    })
    ws.isTrusted = isTrusted
    rawWrite(other, frames(100))
    await heard(3)
    for (let i = 0; i < 5; i++) await turn()
    t.equal(told.length, isTrusted ? 100 : 3)
    ws.resume()
    ws.pause()
    ws.resume()
    t.equal((await heard(100)).length, 100)
  }
})

t.test('JSON socket: what a client sent before it left is taken, though the socket was paused', async t => {
  const { ws, other, heard } = await owned(t, (socket, count) => {
    if (count === 3) socket.pause()
  })
  rawWrite(other, frames(10))
  await heard(3)
  ws.socket.destroy()
  t.same(await heard(11), [...Array(10).fill('received x'), 'left false'])
})

t.test('JSON socket: nothing comes behind terminate', async t => {
  const { other, heard } = await owned(t, socket => socket.terminate())
  rawWrite(other, frames(100))
  t.same(await heard(2), ['received x', 'left false'])
})

// ── json/connection ───────────────────────────────────────────────────────────────────────────────────────

async function jsonConnection(t: Test, rules: Partial<ConnectionHost['rules']> = {}) {
  const { parts, logs, register } = await running()
  const { services, metrics } = parts
  const { ws, other } = await jsonPair(t)
  let ended = 0
  const host: ConnectionHost = {
    services,
    metrics,
    rules: { ...RULES, checkEveryMs: 1000, ...rules },
    later: new Later(1),
    onFault: (_where, thrown) => {
      throw thrown
    },
    isOpen: true,
    key: KEY,
    openReader: reader =>
      new InboxReader(services.inbox, metrics, services.log, {
        windowMessages: 9,
        windowChars: 999,
        ...reader,
      }),
  }
  const connection = new JsonConnection(host, ws, 'en', '192.0.2.1', () => ended++)
  const one = new JsonClient(other)
  return { connection, one, other, logs, register, ends: () => ended }
}

t.test('JSON connection: the end is said once, by a reply and by the close frame', async t => {
  const { connection, one, ends } = await jsonConnection(t)
  connection.end('SLOW_CLIENT')
  connection.end('OVER_LIMITS')
  connection.goAway()
  t.equal((await one.next()).code, CODES.SLOW_CLIENT.code)
  t.same(await one.closed, [CODES.SLOW_CLIENT.close, 'SLOW_CLIENT'])
  await connection.gone
  t.equal(ends(), 1)
})

t.test(
  'JSON connection: a request under way is answered before the end is said; a later one is not',
  async t => {
    const { connection, one, register } = await jsonConnection(t)
    const { email } = await register('bea')
    // The answer of the first needs the store, and the end comes before it.
    const { received } = connection
    t.intercept(connection, 'received', {
      value: (data: Buffer, isBinary: boolean) => {
        received.call(connection, data, isBinary)
        connection.end('LOGIN_TIMEOUT')
      },
    })
    for (const id of ['first', 'late']) one.send({ type: 'action', action: 'query', id, data: { email } })
    t.match(await one.next(), { id: 'first', code: CODES.SUCCESS.code })
    t.equal((await one.next()).code, CODES.LOGIN_TIMEOUT.code)
    t.match(await one.closed, [CODES.LOGIN_TIMEOUT.close])
    t.same(one.unread, [])
  },
)

t.test('JSON connection: a binary message is no request', async t => {
  const { one } = await jsonConnection(t)
  one.ws.send(Buffer.from('{"type":"action"}'))
  t.equal((await one.next()).code, CODES.BAD_JSON.code)
})

t.test(
  'JSON connection: a check ends one that is dead without a word, and one that does not log in',
  async t => {
    const dead = await jsonConnection(t)
    dead.connection.check(performance.now() + RULES.pingIntervalMs + RULES.pingTimeoutMs)
    t.same(await dead.one.closed, [1006, ''])
    t.equal(dead.ends(), 1)
    const idle = await jsonConnection(t, { loginTimeoutMs: 1000 })
    idle.connection.check(performance.now() + 900)
    idle.connection.check(performance.now() + 1001)
    t.equal((await idle.one.next()).code, CODES.LOGIN_TIMEOUT.code)
  },
)

t.test('JSON connection: a probe is answered by a pong; without one it ends', async t => {
  const alive = await jsonConnection(t)
  t.equal(await alive.connection.probe(), true)
  t.equal(alive.ends(), 0)
  const silent = await jsonConnection(t, { pingTimeoutMs: 1 })
  silent.other.pause()
  t.equal(await silent.connection.probe(), false)
  t.equal(silent.ends(), 1)
})

t.test(
  'JSON connection: a login ends with it; the log says whether the client closed, or the line broke',
  async t => {
    for (const [name, leave, reason] of [
      ['cid', (ws: WebSocket) => ws.close(), 'left'],
      ['dan', (ws: WebSocket) => ws.terminate(), 'dropped'],
    ] as const) {
      const { connection, one, other, logs, register } = await jsonConnection(t)
      const { email, id: userId } = await register(name)
      const login = { type: 'action', action: 'login', data: { email, password: PASSWORD } }
      t.equal((await one.ask(login)).code, CODES.LOGIN_SUCCESS.code)
      t.equal(connection.userId, userId)
      leave(other)
      await connection.gone
      while (!connection.hasLeft) await turn()
      t.match(
        logs.filter(line => line.userId === userId && line.reason !== undefined),
        [{ front: 'json', reason }],
      )
      const { live } = (await running()).parts.services
      t.notOk(live.isOnline(userId))
    }
  },
)
