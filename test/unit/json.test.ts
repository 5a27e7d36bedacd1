/** The parts of a JSON connection, each in isolation. */
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import t from 'tap'
import { CODES } from '../../src/core/errors.js'
import type { InboxRow } from '../../src/core/model.js'
import type { Job } from '../../src/flow/due.js'
import type { Later } from '../../src/flow/later.js'
import { TurnEnd } from '../../src/flow/turn-end.js'
import { Turnstile } from '../../src/flow/turnstile.js'
import type { Services } from '../../src/handle/services.js'
import type { InboxReader } from '../../src/inbox/reader.js'
import { BackPressure } from '../../src/json/back-pressure.js'
import { Closing } from '../../src/json/closing.js'
import { FrameWriter } from '../../src/json/frame-writer.js'
import { Hold } from '../../src/json/hold.js'
import type { Asker, ConnectionHost } from '../../src/json/host.js'
import { type DeliveryHost, InboxDelivery } from '../../src/json/inbox-delivery.js'
import { Liveness } from '../../src/json/liveness.js'
import { JsonLogin } from '../../src/json/login.js'
import { Quota } from '../../src/json/quota.js'
import { Requests } from '../../src/json/requests.js'
import type { Limits } from '../../src/limits/limits.js'
import type { LiveConnection } from '../../src/live/live.js'
import type { RequestData } from '../../src/protocol/requests.js'
import { ofKind } from '../helpers/kind.js'

const ME = '271693512'
const turn = () => new Promise(resolve => setImmediate(resolve))
const fuse = {
  fault: (_where: string, thrown: unknown) => {
    throw thrown
  },
}

t.test('Hold: ends once, at the latest time to which it was extended', async t => {
  const ends: number[] = []
  const hold = new Hold(() => ends.push(performance.now()), fuse)
  hold.extend(0)
  t.notOk(hold.isOn, '0 ms is no wait')
  const start = performance.now()
  hold.extend(5)
  hold.extend(20)
  t.ok(hold.isOn)
  await new Promise(resolve => setTimeout(resolve, 40))
  t.equal(ends.length, 1)
  t.ok((ends[0] ?? 0) - start >= 19)
  hold.extend(5)
  hold.clear()
  t.notOk(hold.isOn)
})

t.test('Closing: sends the reason as a reply and a close frame, once', async t => {
  const events: unknown[] = []
  const closing = new Closing(
    { terminate: () => void events.push('terminate') },
    { write: text => void events.push(JSON.parse(text).code), close: (...how) => void events.push(how) },
    'en',
  )
  closing.sayWhy()
  t.same(events, [], 'nothing to say')
  closing.because('SLOW_CLIENT')
  closing.sayWhy()
  closing.sayWhy()
  t.same(events, [CODES.SLOW_CLIENT.code, [4008, 'SLOW_CLIENT']])
})

t.test('Closing: a code without a close code closes with 1011', async t => {
  const closes: unknown[] = []
  const out = { write: () => undefined, close: (...how: unknown[]) => void closes.push(how) }
  const closing = new Closing({ terminate: () => undefined }, out, 'en')
  closing.because('STORE_UNAVAILABLE')
  closing.sayWhy()
  t.same(closes, [[1011, 'STORE_UNAVAILABLE']])
})

t.test('Closing: a client that continues to send is cut off, sooner without a login', async t => {
  for (const [isKnown, most] of [
    [false, 100],
    [true, 1000],
  ] as const) {
    let cuts = 0
    const closing = new Closing(
      { terminate: () => void cuts++ },
      { write: () => undefined, close: () => undefined },
      'en',
    )
    for (let i = 0; i < most; i++) closing.passOver(isKnown)
    t.equal(cuts, 0)
    closing.passOver(isKnown)
    t.equal(cuts, 1)
  }
})

function pressure() {
  const calls: string[] = []
  const requests = { open: 0, maxOpen: 10, waitingBytes: 0 }
  const out = { isFull: false }
  let waitMs = 0
  const one = new BackPressure(
    { pause: () => void calls.push('pause'), resume: () => void calls.push('resume') },
    requests,
    out,
    { take: () => waitMs },
    { maxBufferedBytes: 1000 },
    fuse,
  )
  return { calls, requests, out, one, hold: (ms: number) => (waitMs = ms) }
}

t.test('BackPressure: pauses at the most open requests, resumes at half of them', async t => {
  const { calls, requests, one } = pressure()
  for (const [open, isOn] of [
    [9, false],
    [10, true],
    [6, true],
    [5, false],
  ] as const) {
    requests.open = open
    one.update()
    t.equal(one.isOn, isOn, `${open} open`)
  }
  t.same(calls, ['pause', 'resume'])
})

t.test('BackPressure: a full socket, many bytes of requests, and too many pings pause, too', async t => {
  const { calls, requests, out, one, hold } = pressure()
  out.isFull = true
  one.update()
  out.isFull = false
  one.update()
  requests.waitingBytes = 1001
  one.update()
  requests.waitingBytes = 1000
  one.update()
  hold(5)
  one.took('ping')
  t.ok(one.isOn)
  await new Promise(resolve => setTimeout(resolve, 20))
  t.notOk(one.isOn)
  t.same(calls, ['pause', 'resume', 'pause', 'resume', 'pause', 'resume'])
})

t.test('BackPressure: after the end the socket is always read', async t => {
  const { calls, requests, one } = pressure()
  requests.open = 10
  one.update()
  one.stop()
  one.update()
  t.same(calls, ['pause', 'resume'])
})

function quota(rules: { maxRefusals: number; loginTimeoutMs: number }, bucket?: { take(): boolean }) {
  const counted: string[] = []
  const warnings = { take: () => false }
  const limits = {
    requestBucket: () => bucket,
    beforeLogin: () => ({ borrow: () => 7 }),
    warningBucket: () => warnings,
    enterAccount: () => undefined,
    accountRate: () => ({ take: () => false }),
    traffic: () => ({ sent: { spend: () => true } }),
    leave: () => void counted.push('leave'),
    count: (limit: string) => void counted.push(limit),
  }
  return { counted, quota: new Quota(limits as unknown as Limits, rules, undefined) }
}

t.test('Quota: refusals in a row end the connection; retryable ones do not count', async t => {
  const { counted, quota: one } = quota({ maxRefusals: 3, loginTimeoutMs: 10 })
  const codes = ['BAD_JSON', 'BAD_JSON', 'SUCCESS', 'BAD_JSON', 'BAD_JSON', 'STORE_UNAVAILABLE'] as const
  for (const code of codes) t.equal(one.answered(code), undefined)
  for (const code of ['BAD_JSON', 'BAD_JSON'] as const) t.equal(one.answered(code), undefined)
  t.equal(one.answered('BAD_JSON'), 'TOO_MANY_ERRORS')
  t.same(counted, ['limits.refusals'])
})

t.test('Quota: too many refusals by a limit close the connection', async t => {
  const { quota: one } = quota({ maxRefusals: 99, loginTimeoutMs: 10 })
  t.equal(one.answered('RATE_LIMITED'), 'OVER_LIMITS')
})

t.test('Quota: a client without a login and without requests is closed in time', async t => {
  const { quota: one } = quota({ maxRefusals: 3, loginTimeoutMs: 1000 })
  one.take(1)
  const now = performance.now()
  t.equal(one.idle(now + 900), undefined)
  t.equal(one.idle(now + 1001), 'LOGIN_TIMEOUT')
  t.equal(one.beforeLogin(), 7)
})

t.test(
  'Quota: limits of the account apply from login on, but not to requests that protect the account',
  async t => {
    const { counted, quota: one } = quota({ maxRefusals: 3, loginTimeoutMs: 10 }, { take: () => true })
    t.equal(one.take(1), undefined)
    one.enter(ME)
    const limit = one.take(1)
    t.equal(limit, 'limits.accountRequests')
    t.match(one.refusal(limit, 'message'), { kind: 'RATE_LIMITED' })
    t.equal(one.refusal(limit, 'revoke'), undefined)
    t.match(one.refusal('limits.requests', 'revoke'), { kind: 'RATE_LIMITED' })
    one.leave(ME)
    one.leave(ME)
    t.same(counted, ['limits.accountRequests', 'limits.requests', 'leave'])
  },
)

const LIVENESS = { pingIntervalMs: 100, pingTimeoutMs: 40, stallTimeoutMs: 200, checkEveryMs: 10 }

function liveness() {
  const state = { pings: 0 }
  const ws = { isOpen: true, ping: () => void state.pings++ }
  const socket = { writableLength: 0, bytesWritten: 0 }
  const control = { pinged: () => undefined }
  const one = new Liveness(ws, socket as Socket, LIVENESS, control)
  return { one, state, socket, start: performance.now() }
}

t.test('Liveness: a silent client is pinged once, and is dead when it stays silent', async t => {
  const { one, state, start } = liveness()
  t.equal(one.check(start + 50, false, 0), 'fine')
  t.equal(state.pings, 0)
  t.equal(one.check(start + 100, false, 0), 'fine')
  t.equal(one.check(start + 110, false, 0), 'fine')
  t.equal(state.pings, 1)
  t.equal(one.check(start + 140, false, 0), 'dead')
})

t.test('Liveness: a client whose socket is paused does not count as silent', async t => {
  const { one, start } = liveness()
  t.equal(one.check(start + 1000, true, 0), 'fine')
  one.excuse(start + 5000)
  t.equal(one.check(start + 5050, false, 0), 'fine')
})

t.test('Liveness: a client that takes nothing, or confirms nothing, is stalled', async t => {
  const { one, socket, start } = liveness()
  socket.bytesWritten = 10
  socket.writableLength = 10
  t.equal(one.check(start + 1000, true, 0), 'stalled')
  const other = liveness()
  t.equal(other.one.check(other.start + 1, false, 200), 'stalled')
})

t.test('Liveness: any input answers a probe, and so does the end', async t => {
  const { one, state } = liveness()
  const alive = one.probe()
  one.seen()
  t.equal(await alive, true)
  const dead = one.probe()
  one.ended()
  t.equal(await dead, false)
  t.equal(state.pings, 2)
})

function writer(maxBufferedBytes = 100) {
  const written: Buffer[] = []
  const closes: unknown[] = []
  const state: { ping?: string } = {}
  const ws = Object.assign(new EventEmitter(), {
    isOpen: true,
    readyState: 1,
    OPEN: 1,
    pong: () => undefined,
    close: (...how: unknown[]) => void closes.push(how),
  })
  const socket = {
    writableLength: 0,
    writableHighWaterMark: 10,
    write: (frames: Buffer) => written.push(frames) > 0,
  }
  const out = new FrameWriter(
    ws,
    socket as unknown as Socket,
    new TurnEnd(),
    { maxBufferedBytes },
    { pingPayload: () => state.ping, goOn: () => undefined, ...fuse },
  )
  return { out, written, closes, ws, socket, state }
}

t.test(
  'FrameWriter: all frames of one turn are one buffer (RFC 6455, 5.2), with the ping at its end',
  async t => {
    const { out, written, state } = writer()
    out.write('a')
    out.writeFixed('é')
    state.ping = '7'
    t.same(written, [])
    await turn()
    t.same(written, [Buffer.from([0x81, 1, 0x61, 0x81, 2, 0xc3, 0xa9, 0x89, 1, 0x37])])
  },
)

t.test('FrameWriter: the header has the length in 7, 16 or 64 bits', async t => {
  for (const [length, header] of [
    [125, [0x81, 125]],
    [126, [0x81, 126, 0, 126]],
    [65_535, [0x81, 126, 0xff, 0xff]],
    [65_536, [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]],
  ] as const) {
    const { out, written } = writer()
    out.write('x'.repeat(length))
    await turn()
    t.same([...(written[0]?.subarray(0, header.length) ?? [])], header, String(length))
    t.equal(written[0]?.length, header.length + length)
  }
})

t.test('FrameWriter: it is full by bytes, including those that are not written yet', async t => {
  const { out, socket } = writer(100)
  out.write('é'.repeat(50))
  t.notOk(out.isFull)
  out.write('x')
  t.ok(out.isFull)
  t.notOk(out.canTake)
  await turn()
  t.ok(out.canTake)
  socket.writableLength = 101
  t.ok(out.isFull)
})

t.test('FrameWriter: close sends what was written first; a closed one writes nothing', async t => {
  const { out, written, closes, ws } = writer()
  out.write('a')
  out.close(1001, 'SHUTDOWN')
  t.same([written.length, closes], [1, [[1001, 'SHUTDOWN']]])
  ws.isOpen = false
  out.write('b')
  await turn()
  t.equal(written.length, 1)
  t.notOk(out.canTake)
})

function delivery(options: RequestData<'login'>, nth = 0) {
  const texts: string[] = []
  const confirmed: number[] = []
  const later: Job[] = []
  let woken = 0
  const out = { canTake: true, write: (text: string) => void texts.push(text), wake: () => void woken++ }
  const reader = {
    sent: 0,
    confirmed: 0,
    isHalfFull: false,
    confirmUpTo: (seq: number) => void confirmed.push(seq),
  }
  let device = ''
  const files = {
    urlsFor: ({ id }: { id: string }) => ({ url: id }),
  } as unknown as DeliveryHost['services']['files']
  const host: DeliveryHost = {
    services: { files },
    later: { add: job => void later.push(job) } as Later,
    openReader: part => {
      device = part.device
      return reader as unknown as InboxReader
    },
  }
  const one = new InboxDelivery(host, out, ME, options, nth)
  return { one, texts, confirmed, reader, device, later, woken: () => woken }
}

const ROW = { seq: 5, id: 'm', kind: 'message', text: '{"sender":"1","content":"x"}' } as InboxRow

t.test('InboxDelivery: an old client gets the stored text; with any extension also id and seq', async t => {
  const old = delivery({})
  old.one.deliver(ROW)
  t.same(old.texts, [ROW.text])
  const one = delivery({ device: 'phone' })
  one.one.deliver(ROW)
  t.match(JSON.parse(one.texts[0] ?? ''), { id: 'm', seq: 5, content: 'x' })
  t.equal(one.device, 'json phone')
})

t.test(
  'InboxDelivery: one ping at a time; its pong confirms, and that of an earlier login does not',
  async t => {
    const { one, reader, confirmed } = delivery({}, 1)
    t.equal(one.pingPayload(), undefined, 'nothing sent')
    reader.sent = 5
    t.equal(one.pingPayload(), '5 1')
    t.equal(one.pingPayload(), undefined)
    t.ok(one.owedFor(performance.now() + 10) >= 10)
    one.pong(Buffer.from('5'))
    t.same(confirmed, [])
    one.pong(Buffer.from('5 1'))
    t.same(confirmed, [5])
    t.equal(one.owedFor(performance.now()), 0)
  },
)

t.test(
  'InboxDelivery: the first ping leaves at once, the next after a pause, or when half the window is full',
  async t => {
    const { one, reader, later, woken } = delivery({})
    const clock = t.intercept(performance, 'now', { value: () => now })
    t.teardown(() => clock.restore())
    let now = 1000
    reader.sent = 1
    t.equal(one.pingPayload(), '1')
    one.pong(Buffer.from('1'))
    reader.confirmed = 1
    reader.sent = 2
    now += 199
    t.equal(one.pingPayload(), undefined)
    t.equal(one.pingPayload(), undefined)
    t.equal(later.length, 1, 'it waits once')
    reader.isHalfFull = true
    t.equal(one.pingPayload(), '2')
    one.pong(Buffer.from('2'))
    reader.confirmed = 2
    reader.sent = 3
    reader.isHalfFull = false
    t.equal(one.pingPayload(), undefined)
    const before = woken()
    t.equal(later.shift(), one)
    one.run()
    t.equal(woken(), before + 1, 'asked again')
    t.equal(one.pingPayload(), undefined, 'too early: it waits once more')
    t.equal(later.length, 1)
    now += 200
    t.equal(one.pingPayload(), '3', 'no more was sent')
    one.pong(Buffer.from('3'))
    reader.confirmed = 3
    for (let seq = 4; seq < 14; seq++) {
      reader.sent = seq
      now += 99
      t.equal(one.pingPayload(), undefined, 'more keeps coming')
    }
    reader.sent = 14
    now += 10
    t.equal(one.pingPayload(), '14', 'for a second')
  },
)

t.test(
  'InboxDelivery: with explicit acks there are no pings; clients that asked are told of gaps',
  async t => {
    const { one, reader, texts } = delivery({ ack: 'explicit', events: ['dropped'] })
    reader.sent = 5
    t.equal(one.pingPayload(), undefined)
    one.gap(1, 4)
    t.same(
      texts.map(text => JSON.parse(text)),
      [{ event: 'dropped', data: { from: 1, to: 4 } }],
    )
    const silent = delivery({})
    silent.one.gap(1, 4)
    t.same(silent.texts, [])
  },
)

/** Requests before login that a turn of the event loop has. */
const MANY = 100

/** A host with minimal services, and what happened. */
function host(services: object = {}, rules: object = {}) {
  const events: string[] = []
  const limits = {
    join: () => ({
      entered: () => void events.push('guest entered'),
      loggedOut: () => void events.push('guest logged out'),
      left: () => void events.push('guest left'),
    }),
    logins: { loggedInFrom: () => undefined },
    entrance: new Turnstile(MANY),
    count: (limit: string) => void events.push(limit),
  }
  const live = { join: async () => void events.push('join'), leave: () => void events.push('leave') }
  const permissions = { joined: () => true, left: () => void events.push('permissions left') }
  const reader = {
    enrol: async () => undefined,
    close: () => void events.push('reader closed'),
    start: async () => undefined,
    resume: () => undefined,
    confirmUpTo: (seq: number) => void events.push(`confirm ${seq}`),
  }
  const log = { info: () => undefined, error: () => undefined, debug: () => undefined }
  const one = {
    services: {
      inbox: { tracing: undefined },
      limits,
      live,
      log,
      authenticator: { since: () => ({ permissions: () => permissions }) },
      rules: { maxDepth: 8, maxValues: 64, unknownFields: 'refuse' },
      ...services,
    } as unknown as Services,
    rules: { maxPipelined: 4, maxMessageBeforeLogin: 60, ...rules },
    metrics: { answered: () => undefined },
    isOpen: true,
    openReader: () => reader,
  }
  return { events, host: one as unknown as ConnectionHost }
}

const WHO = { user: { id: ME }, login: { id: 's' } } as Parameters<JsonLogin['enter']>[0]

function jsonLogin(quotaEnter: () => void = () => undefined) {
  const { events, host: one } = host()
  const ends: string[] = []
  const connection = { end: (code: string) => void ends.push(code) } as unknown as LiveConnection
  const ws = { isTrusted: false }
  const quota = { enter: quotaEnter, leave: () => undefined } as unknown as Quota
  return { events, ends, ws, login: new JsonLogin(one, connection, ws, writer().out, quota) }
}

t.test('JsonLogin: the connection belongs to the user from entering to leaving', async t => {
  const { events, ws, login } = jsonLogin()
  await login.enter(WHO, { ack: 'explicit' })
  t.same([login.userId, ws.isTrusted], [ME, true])
  t.ok(login.confirm(3))
  login.leave()
  t.same(
    [login.userId, login.login, login.permissions, ws.isTrusted],
    [undefined, undefined, undefined, false],
  )
  t.notOk(login.confirm(4))
  login.leave()
  t.same(events, [
    'join',
    'guest entered',
    'confirm 3',
    'reader closed',
    'leave',
    'permissions left',
    'guest logged out',
  ])
})

t.test(
  'JsonLogin: over a limit, or after the close of the connection, it does not enter and changes nothing',
  async t => {
    const over = jsonLogin(() => {
      throw Object.assign(new Error(), { kind: 'TOO_MANY_CONNECTIONS' })
    })
    await t.rejects(over.login.enter(WHO, {}))
    t.same(over.events, ['join', 'leave'])
    const closed = jsonLogin()
    closed.login.close()
    await t.rejects(closed.login.enter(WHO, {}), ofKind('ERROR_CONNECTION_CLOSED'))
    t.equal(closed.login.userId, undefined)
  },
)

t.test('JsonLogin: without explicit acks an ack confirms nothing', async t => {
  const { login } = jsonLogin()
  await login.enter(WHO, {})
  t.notOk(login.confirm(1))
})

function requests(rules: object = {}, waitMs = 0) {
  const { host: one, events } = host({}, rules)
  const { out, written } = writer(1e6)
  const reasons: unknown[] = []
  const asker = {
    userId: undefined as string | undefined,
    hasLeft: false,
    locale: 'en',
    front: 'json',
    replied: (reason: unknown) => void reasons.push(reason),
    goOn: () => undefined,
    ...fuse,
  }
  const quota = {
    take: () => undefined,
    beforeLogin: () => waitMs,
    refusal: () => undefined,
    answered: () => undefined,
  } as unknown as Quota
  const all = new Requests(one, asker as unknown as Asker, out, quota)
  const replies = async () => {
    await turn()
    const text = Buffer.concat(written.splice(0)).toString('latin1')
    return [...text.matchAll(/"code":(\d+)/g)].map(([, code]) => Number(code))
  }
  return { all, asker, events, replies, host: one, reasons }
}

t.test('Requests: an invalid request is refused in its place', async t => {
  const { all, replies, reasons } = requests()
  all.push('{', 1)
  all.push(undefined, 0)
  all.push('{"type":"x"}', 12)
  t.same(await replies(), [CODES.BAD_JSON.code, CODES.BAD_JSON.code, CODES.UNKNOWN_REQUEST.code])
  t.equal(reasons.length, 3)
  t.same([all.pending, all.open, all.waitingBytes], [0, 0, 0])
})

t.test('Requests: before login so many of all clients begin in a turn, in their order', async t => {
  const { all, asker, replies, host: one } = requests()
  Object.assign(one.services.limits, { entrance: new Turnstile(2) })
  for (let i = 0; i < 5; i++) all.push('{', 1)
  t.equal(all.open, 3, 'two at once')
  while (all.open > 0) await turn()
  t.equal((await replies()).length, 5)
  for (let i = 0; i < 5; i++) all.push('{', 1)
  t.ok(all.open > 0)
  asker.userId = ME
  all.resume()
  t.equal(all.open, 0, 'after login there are no turns')
})

t.test('Requests: before login the frame limit is lower than after it', async t => {
  const { all, asker, events, replies } = requests({ maxMessageBeforeLogin: 10 })
  all.push(' '.repeat(10), 10)
  all.push(' '.repeat(11), 11)
  t.same(await replies(), [CODES.BAD_JSON.code, CODES.TOO_LARGE.code])
  t.same(events, ['limits.frameBeforeLogin'])
  asker.userId = ME
  all.push(' '.repeat(11), 11)
  t.same(await replies(), [CODES.BAD_JSON.code])
})

t.test('Requests: before login at most 100 are unanswered, whatever the config allows', async t => {
  const { all, asker } = requests({ maxPipelined: 1000 })
  t.equal(all.maxOpen, 100)
  asker.userId = ME
  t.equal(all.maxOpen, 1000)
})

t.test(
  'Requests: an address over its rate waits; when its client leaves, waiting requests are dropped',
  async t => {
    const { all, replies } = requests({}, 60_000)
    all.push('{', 1)
    all.push('{', 1)
    t.same(await replies(), [CODES.BAD_JSON.code])
    t.same([all.open, all.waitingBytes], [1, 1])
    all.clientLeft()
    all.stop()
    t.equal(all.open, 0)
  },
)

t.test('Requests: none begins after the end, except if the client left by itself', async t => {
  const { all, asker, replies } = requests()
  all.stop()
  all.push('{', 1)
  t.same(await replies(), [])
  asker.hasLeft = true
  all.resume()
  t.same(await replies(), [CODES.BAD_JSON.code])
})

t.test('Requests: while the server closes they are refused', async t => {
  const { all, replies, host: one } = requests()
  Object.assign(one, { isOpen: false })
  all.push('{"type":"action","action":"query"}', 30)
  t.same(await replies(), [CODES.SHUTDOWN.code])
})
