import { connect } from 'node:net'
import t, { type Test } from 'tap'
import {
  type JsonClient,
  jsonClient,
  loggedIn,
  type RunningGateway,
  startGateway,
} from '../helpers/gateway.js'

const gateway = await startGateway(t, { 'limits.frameBeforeLogin': '512KiB', 'limits.values': 1_000_000 })

/** The connection answers requests as if nothing had been. */
async function isUndisturbed(t: Test, client: JsonClient): Promise<void> {
  t.match(
    await client.action('query', { email: 'a@b.example' }),
    { code: 200, data: [] },
    'the connection goes on',
  )
  t.same(client.unread, [], 'one reply a request')
}

t.test(
  'each bad request gets one numbered answer that names the field, and the connection goes on',
  async t => {
    const client = await jsonClient(t, gateway)
    const cases: [string, number, object | null][] = [
      ['', 10100, { reason: 'not valid JSON' }],
      ['{"type":', 10100, { reason: 'not valid JSON' }],
      ['hello', 10100, { reason: 'not valid JSON' }],
      ['[]', 10100, { reason: 'not an object' }],
      ['"login"', 10100, { reason: 'not an object' }],
      ['null', 10100, { reason: 'not an object' }],
      ['{}', 10101, { field: 'type', reason: 'is missing' }],
      ['{"type":1}', 10101, { field: 'type', reason: 'must be a string' }],
      ['{"type":"x"}', 10102, { field: 'type', reason: 'unknown type' }],
      ['{"type":"action"}', 10101, { field: 'action', reason: 'is missing' }],
      ['{"type":"action","action":"x"}', 10102, { field: 'action', reason: 'unknown action' }],
      ['{"type":"__proto__"}', 10102, { field: 'type', reason: 'unknown type' }],
      ['{"type":"action","action":"constructor"}', 10102, { field: 'action', reason: 'unknown action' }],
      [
        '{"__proto__":{},"type":"broadcast","data":{"content":"x"}}',
        10101,
        { field: '__proto__', reason: 'unknown field' },
      ],
      ['{"type":"message","data":[]}', 10101, { field: 'data', reason: 'must be an object' }],
      [
        '{"type":"message","data":{"recipient":1,"content":"x"}}',
        10101,
        { field: 'recipient', reason: 'must be a string' },
      ],
      [
        '{"type":"action","action":"login","data":{"email":{}}}',
        10101,
        { field: 'email', reason: 'must be a string' },
      ],
      [
        '{"type":"action","action":"login","data":{"email":"a\\u0000"}}',
        10101,
        { field: 'email', reason: 'must not contain NUL' },
      ],
      [
        `{"data":${'['.repeat(100_000)}${']'.repeat(100_000)},"type":"message"}`,
        10101,
        { field: 'data', reason: 'must be an object' },
      ],
      [
        `{"data":{"content":${'[{"a":'.repeat(50_000)}1${'}]'.repeat(50_000)}},"type":"message"}`,
        10100,
        { reason: 'nested too deep' },
      ],
      ['['.repeat(400_000), 10100, { reason: 'not valid JSON' }],
    ]
    for (const [frame, code, data] of cases) {
      const reply = await client.ask(frame)
      t.strictSame({ code: reply.code, data: reply.data }, { code, data }, frame.slice(0, 80))
      t.type(reply.msg, 'string')
    }
    await isUndisturbed(t, client)
  },
)

t.test('a binary frame is refused, whatever is in it', async t => {
  const client = await jsonClient(t, gateway)
  const frames = [
    Buffer.alloc(0),
    Buffer.from('{"type":"broadcast","data":{"content":"x"}}'),
    Buffer.of(0xff, 0, 0x80),
  ]
  for (const frame of frames) {
    client.ws.send(frame)
    t.match(await client.next(), { code: 10100, data: { reason: /binary/ } })
  }
  await isUndisturbed(t, client)
})

t.test('a request in fragments, and one that comes byte by byte, is a request', async t => {
  const socket = connect(gateway.httpPort, '127.0.0.1').setNoDelay()
  const client = await jsonClient(t, gateway, '/', { createConnection: () => socket })
  const text = '{"type":"action","action":"query","data":{"email":"ä@b.example"}}'
  const bytes = Buffer.from(text)
  // Between the two bytes of ä.
  const cut = bytes.indexOf(0xc3) + 1
  client.ws.send(bytes.subarray(0, cut), { fin: false, binary: false })
  client.ws.ping()
  client.ws.send(Buffer.alloc(0), { fin: false, binary: false })
  client.ws.send(bytes.subarray(cut), { fin: true, binary: false })
  t.match(await client.next(), { code: 200, data: [] })
  const mask = Buffer.alloc(4)
  for (const byte of Buffer.concat([Buffer.of(0x81, 0x80 | bytes.length), mask, bytes])) {
    await new Promise<void>(resolve => void socket.write(Buffer.of(byte), () => resolve()))
  }
  t.match(await client.next(), { code: 200, data: [] })
  await isUndisturbed(t, client)
})

t.test('text that is not UTF-8 closes with 1007', async t => {
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80]]) {
    const client = await jsonClient(t, gateway)
    client.ws.send(Buffer.concat([Buffer.from('{"type":"'), Buffer.from(bytes), Buffer.from('"}')]), {
      binary: false,
    })
    t.equal((await client.closed)[0], 1007, bytes.map(byte => byte.toString(16)).join(' '))
    t.same(client.unread, [])
  }
})

t.test('a frame of exactly limits.frame bytes is read, one byte more closes with 1009', async t => {
  const small = await startGateway(t, { 'limits.frame': '1KiB', 'limits.content': '512' })
  const client = await jsonClient(t, small)
  const query = '{"type":"action","action":"query","data":{"email":"a@b.example"}}'
  t.match(await client.ask(query.padEnd(1024)), { code: 200 })
  client.send(query.padEnd(1025))
  t.equal((await client.closed)[0], 1009)
  const other = await jsonClient(t, small)
  other.ws.send('{"type":'.padEnd(800), { fin: false })
  other.ws.send('"x"}'.padEnd(225))
  t.equal((await other.closed)[0], 1009, 'fragments count together')
})

t.test('a frame that only claims to be huge closes at once', async t => {
  const socket = connect(gateway.httpPort, '127.0.0.1')
  const client = await jsonClient(t, gateway, '/', { createConnection: () => socket })
  // FIN + text, masked, 64-bit length of 2^40 (RFC 6455 5.2).
  socket.write(Buffer.of(0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4))
  t.equal((await client.closed)[0], 1009)
})

t.test(
  'frames that break RFC 6455 close with 1002: no mask, reserved bits, unknown opcode, long control frame',
  async t => {
    const frames = [
      Buffer.of(0x81, 2, 0x7b, 0x7d),
      Buffer.of(0xc1, 0x82, 0, 0, 0, 0, 0x7b, 0x7d),
      Buffer.of(0x83, 0x80, 0, 0, 0, 0),
      Buffer.concat([Buffer.of(0x89, 0xfe, 0, 126, 0, 0, 0, 0), Buffer.alloc(126)]),
      Buffer.of(0x80, 0x80, 0, 0, 0, 0),
    ]
    for (const frame of frames) {
      const socket = connect(gateway.httpPort, '127.0.0.1')
      const client = await jsonClient(t, gateway, '/', { createConnection: () => socket })
      socket.write(frame)
      t.equal((await client.closed)[0], 1002, frame.toString('hex').slice(0, 20))
    }
  },
)

t.test('a binary frame behind a slow request is answered in its place', async t => {
  const client = await jsonClient(t, gateway)
  client.send({ type: 'action', action: 'login', data: { email: 'a@b.example', password: 'x' }, id: 'login' })
  client.send({ type: 'action', action: 'query', data: { email: 'a@b.example' }, id: 'query' })
  client.ws.send(Buffer.from('x'))
  t.match(await client.next(), { id: 'login' })
  t.match(await client.next(), { id: 'query' })
  t.match(await client.next(), { code: 10100 })
})

t.test('one bad client disturbs no other', async t => {
  const good = await loggedIn(t, gateway)
  const bad = await jsonClient(t, gateway)
  for (let i = 0; i < 50; i++) bad.send('{')
  bad.ws.send(Buffer.of(0xff), { binary: false })
  t.match(await good.ask({ type: 'message', data: { recipient: good.userId, content: 'x' } }), { code: 201 })
  t.match(await good.next(), { content: 'x' })
  await bad.closed
  await isUndisturbed(t, good)
})

/** Sends `count` requests that are refused and gives the code of each reply. */
async function refused(client: JsonClient, count: number): Promise<number[]> {
  const codes: number[] = []
  while (codes.length < count) codes.push((await client.ask({ type: 'nonsense' })).code)
  return codes
}

t.test('limits.refusals in a row: 10108, then close 4500', async t => {
  const strict = await startGateway(t, { 'limits.refusals': 5 })
  const client = await jsonClient(t, strict)
  t.same(await refused(client, 5), Array(5).fill(10102))
  t.match(await client.next(), { code: 10108, data: null })
  t.equal((await client.closed)[0], 4500)
})

t.test('a request that succeeds starts the count anew', async t => {
  const strict = await startGateway(t, { 'limits.refusals': 5 })
  const client = await jsonClient(t, strict)
  for (let i = 0; i < 4; i++) {
    t.same(await refused(client, 4), Array(4).fill(10102))
    await isUndisturbed(t, client)
  }
})

t.test('of a burst of refused requests no more than limits.refusals are answered', async t => {
  const strict = await startGateway(t, { 'limits.refusals': 5 })
  const client = await jsonClient(t, strict)
  for (let i = 0; i < 1000; i++) client.send('nonsense')
  t.equal((await client.closed)[0], 4500)
  t.same(
    client.unread.map(frame => JSON.parse(frame).code),
    [...Array(5).fill(10100), 10108],
  )
})

t.test('wrong passwords count as refusals, too', async t => {
  const strict: RunningGateway = await startGateway(t, { 'limits.refusals': 3 })
  const client = await jsonClient(t, strict)
  for (let i = 0; i < 3; i++)
    t.match(await client.action('login', { email: 'a@b.example', password: 'x' }), { code: 10000 })
  t.match(await client.next(), { code: 10108 })
})
