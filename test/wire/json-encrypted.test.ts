/** Encrypted packets on the wire: docs/encryption.md, by a client of another library. */
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { EncryptedClient, encrypted, login, Peer } from '../helpers/encrypted-client.js'
import { jsonClient, limited, loggedIn, register, startGateway } from '../helpers/gateway.js'

const gateway = await startGateway(t, { 'sessions.multiple': 'allow', 'limits.requestsBeforeLogin': 10_000 })
const ann = await register(t, gateway)
const bob = await register(t, gateway)
const message = (recipient: string, content: string, id?: string) => ({
  type: 'message',
  id,
  data: { recipient, content },
})
const FAILED = 10160
const CLOSED = [4011, 'ENCRYPTION_FAILED']

/** Sends one frame, behind which the connection ends. @returns the code that says why, encrypted or not, and the close frame */
async function ends(client: EncryptedClient, frame: unknown) {
  if (Buffer.isBuffer(frame)) client.ws.send(frame)
  else client.plain.send(frame)
  const text = await client.plain.nextText()
  const wasEncrypted = text.includes('"ct"')
  const { code } = JSON.parse(wasEncrypted ? client.peer.open(text) : text)
  return { code, closed: await client.plain.closed, wasEncrypted }
}

for (const suite of ['aes-256-gcm', 'chacha20-poly1305'] as const) {
  t.test(`${suite}: requests, replies and messages, each in a packet and in order`, async t => {
    const bob = await register(t, gateway)
    const client = await encrypted(t, gateway, ann, suite)
    const plain = await loggedIn(t, gateway, bob)
    const frames: string[] = []
    client.ws.on('message', data => frames.push(String(data)))
    for (let i = 0; i < 300; i++) await client.send(message(bob.id, `${suite} ${i} 好`, `${suite} ${i}`))
    for (let i = 0; i < 300; i++) {
      t.match(await client.next(), { code: 201, id: `${suite} ${i}` })
      t.match(await plain.next(), { sender: ann.id, content: `${suite} ${i} 好` })
    }
    plain.send(message(ann.id, 'back'))
    const { sender, content, seq } = await client.next<{ sender: string; content: string; seq: number }>()
    t.strictSame([sender, content], [bob.id, 'back'])
    t.match(await client.ask({ type: 'action', action: 'ack', data: { seq } }), { code: 200 })
    t.match(await client.ask('{"type":'), { code: 10100 }, 'a refusal')
    t.match(
      await client.ask({ type: 'encrypted', data: { ct: 'A'.repeat(24) } }),
      { code: 10102 },
      'a packet in a packet is no request',
    )
    for (const frame of frames) {
      t.match(frame, /^\{"type":"encrypted","data":\{"ct":"[A-Za-z0-9+/]+=*"\}\}$/)
      t.notMatch(frame, /"sender"|"code"/)
    }
    client.ws.close()
  })
}

t.test(
  'without suite it is AES-256-GCM; a first packet may have an unencrypted answer for its form alone',
  async t => {
    const client = await EncryptedClient.connect(t, gateway)
    t.match(await client.plain.ask({ type: 'encrypted', data: { ct: 'A'.repeat(24) } }), {
      code: 10101,
      data: { field: 'enc', reason: 'is missing' },
    })
    t.match(
      await client.plain.ask({
        type: 'encrypted',
        data: { suite: 'x', enc: client.peer.enc, ct: 'A'.repeat(24) },
      }),
      { code: 10101, data: { field: 'suite' } },
    )
    const { type, data } = await client.peer.first('')
    client.plain.send({ type, data: { enc: data.enc, ct: data.ct } })
    t.match(await client.next(), { key: /^[0-9A-F]{64}$/ })
  },
)

t.test(
  'a first packet is answered by a fresh key, and a second set-up with it replaces the first',
  async t => {
    const keys = new Set<string>()
    for (let i = 0; i < 2; i++) {
      const client = await EncryptedClient.connect(t, gateway, 'chacha20-poly1305')
      await client.begin('')
      const greeting = await client.next<{ key: string }>()
      t.match(greeting.key, /^[0-9A-F]{64}$/)
      keys.add(greeting.key)
      const packet = await client.peer.packet(JSON.stringify(login(ann)))
      t.strictSame((await ends(client, packet)).closed, CLOSED, 'no request goes by the first keys')
    }
    t.equal(keys.size, 2, 'for each connection another one')
    const client = await EncryptedClient.connect(t, gateway)
    await client.start(login(ann))
    t.match(await client.next(), { code: 202 })
    t.match(await client.ask(message(bob.id, 'fresh')), { code: 201 })
    const third = await Peer.setUp(client.key, 'aes-256-gcm', client.peer)
    t.strictSame((await ends(client, await third.first('{}'))).closed, CLOSED, 'a third one is not taken')
  },
)

t.test('a connection that was recorded is not run again', async t => {
  const eve = await register(t, gateway)
  const client = await EncryptedClient.connect(t, gateway)
  const recorded: string[] = []
  const { plain } = client
  const send = plain.send.bind(plain)
  plain.send = frame => {
    recorded.push(JSON.stringify(frame))
    send(frame)
  }
  await client.start(login(ann))
  t.match(await client.next(), { code: 202 })
  t.match(await client.ask(message(eve.id, 'once')), { code: 201 })
  t.equal(recorded.length, 3)
  const again = await EncryptedClient.connect(t, gateway)
  for (const frame of recorded) again.plain.send(frame)
  t.strictSame(await again.plain.closed, CLOSED)
  t.equal(again.plain.unread.length, 2, 'a key that is of no use to it, and why it ends')
  const reader = await loggedIn(t, gateway, eve, { ack: 'explicit' })
  t.match(await reader.next(), { content: 'once' })
  reader.send(message(eve.id, 'end'))
  const texts = [await reader.nextText(), await reader.nextText()]
  t.notMatch(texts.join(), /once/)
})

t.test('a request in a first packet is refused with a word, in a packet', async t => {
  const client = await EncryptedClient.connect(t, gateway)
  await client.begin(login(ann))
  t.match(await client.next(), { code: 10101, data: { field: 'ct', reason: /must be empty/ } })
  t.strictSame((await ends(client, await client.peer.packet('{}'))).closed, CLOSED)
})

t.test('a login in packets confirms by ack alone: a pong can be made by who is in between', async t => {
  const client = await EncryptedClient.connect(t, gateway)
  await client.start({ ...login(ann, {}), id: 'x' })
  t.match(await client.next(), { code: 10101, data: { field: 'ack' } })
  t.match(await client.ask(login(ann, { ack: 'ping' })), { code: 10101, data: { field: 'ack' } })
  t.match(await client.ask(login(ann)), { code: 202 })
  t.equal(client.ws.readyState, client.ws.OPEN)
})

t.test(
  'what was changed, repeated, left out or is not encrypted ends the connection, by one code',
  async t => {
    const begun = () => encrypted(t, gateway, ann)
    const query = JSON.stringify({ type: 'action', action: 'query', data: {} })
    const cases: Record<string, (client: EncryptedClient) => Promise<unknown>> = {
      'a plain request': async () => query,
      'a plain request that is none': async () => '{}',
      'no JSON': async () => 'x',
      'too many values': async () => `{"type":[${'1,'.repeat(5000)}1]}`,
      'a binary frame': async () => randomBytes(99),
      'a packet without ct': async () => ({ type: 'encrypted', data: {} }),
      'a packet without an object': async () => ({ type: 'encrypted', data: 1 }),
      changed: async client => {
        const packet = await client.peer.packet(query)
        const ct = `${packet.data.ct.startsWith('A') ? 'B' : 'A'}${packet.data.ct.slice(1)}`
        return { ...packet, data: { ct } }
      },
      'one before it left out': async client => {
        await client.peer.packet(query)
        return client.peer.packet(query)
      },
      repeated: async client => {
        const packet = await client.peer.packet(query)
        client.plain.send(packet)
        t.match(await client.next(), { code: 200 })
        return packet
      },
      'of another connection': async () => (await begun()).peer.packet(query),
      'random bytes': async () => ({ type: 'encrypted', data: { ct: randomBytes(200).toString('base64') } }),
      'a second set-up': async client => (await Peer.setUp(client.key, 'aes-256-gcm')).first(query),
    }
    for (const [name, make] of Object.entries(cases)) {
      const client = await begun()
      const frame = await make(client)
      const { code, closed, wasEncrypted } = await ends(client, frame)
      t.strictSame([code, ...closed], [FAILED, ...CLOSED], name)
      t.ok(wasEncrypted, `${name}: also the reason is encrypted`)
    }
  },
)

t.test(
  'a first packet for another key, or behind a login or an unanswered request, ends the connection',
  async t => {
    const query = JSON.stringify({ type: 'action', action: 'query', data: {} })
    const wrong = await EncryptedClient.connect(t, gateway)
    const other = await Peer.setUp('09'.padEnd(64, '0'), 'aes-256-gcm')
    const failed = await ends(wrong, await other.first(query))
    t.strictSame([failed.code, failed.wasEncrypted, ...failed.closed], [FAILED, false, ...CLOSED])

    const late = await EncryptedClient.connect(t, gateway)
    t.match(await late.plain.ask(login(ann, {})), { code: 202 })
    t.strictSame((await ends(late, await late.peer.first(query))).closed, CLOSED, 'behind a plain login')
  },
)

t.test('of a client that ends behind its packets, what they ask is done', async t => {
  const client = await encrypted(t, gateway, ann)
  const plain = await loggedIn(t, gateway, bob, { device: 'late', ack: 'explicit' })
  const packets = await Promise.all(
    [1, 2, 3].map(i => client.peer.packet(JSON.stringify(message(bob.id, `last ${i}`)))),
  )
  for (const packet of packets) client.plain.send(packet)
  client.ws.close()
  const got: string[] = []
  while (got.length < 3) {
    const { content } = await plain.next<{ content?: string }>()
    if (content?.startsWith('last')) got.push(content)
  }
  t.strictSame(got, ['last 1', 'last 2', 'last 3'])
})

t.test('limits hold for packets: a long one before login, and a long content', async t => {
  const client = await EncryptedClient.connect(t, gateway)
  await client.start('')
  const { closed } = await ends(client, await client.peer.packet('x'.repeat(20_000)))
  t.strictSame(closed, CLOSED)
  const known = await encrypted(t, gateway, ann)
  t.match(await known.ask(message(bob.id, 'x'.repeat(65_536))), { code: 201 })
  t.match(await known.ask(message(bob.id, 'x'.repeat(65_537))), { code: 10103 })
})

t.test('set-ups are counted, and what failed is in the log without a word of it', async t => {
  const text = await (await fetch(`${gateway.http}/metrics`)).text()
  t.match(text, /mumi_requests_total\{front="json",request="encrypted",code="200"\} \d+/)
  const lines = gateway.logs.filter(({ event }) => event === 'encryption.failed')
  t.ok(lines.length > 10)
  t.equal(
    gateway.logs.some(({ level }) => level === 'error'),
    false,
  )
})

t.test('set-ups count as requests before login, of all connections of an address', async t => {
  const slow = await startGateway(t, { 'limits.requestsBeforeLogin': 1, 'limits.exempt': '' })
  const clients = await Promise.all(Array.from({ length: 12 }, () => EncryptedClient.connect(t, slow)))
  // Ten at once, and then one a second.
  await Promise.all(clients.slice(0, 11).map(client => client.begin('')))
  await Promise.all(clients.slice(0, 10).map(client => client.next()))
  await clients[11]?.begin('')
  await clients[11]?.next()
  t.ok((await limited(slow, 'limits.requestsBeforeLogin')) > 0)
})

t.test('json.encryption = require: plain requests are refused and packets are not', async t => {
  const strict = await startGateway(t, { 'json.encryption': 'require' })
  const plain = await jsonClient(t, strict)
  t.match(await plain.action('login', { email: 'a@example.com', password: 'x' }, 'i'), {
    code: 10161,
    id: 'i',
  })
  t.match(await plain.ask('x'), { code: 10100 })
  const client = await EncryptedClient.connect(t, strict)
  const data = { email: 'a@example.com', password: 'correct horse', firstName: 'A', lastName: 'B' }
  await client.start({ type: 'action', action: 'register', data })
  t.match(await client.next(), { code: 203 })
  t.match(await client.ask(login({ ...data, id: '' })), { code: 202 })
})

t.test('json.encryption = off: a packet is an unknown request, as it was', async t => {
  const off = await startGateway(t, { 'json.encryption': 'off' })
  const client = await EncryptedClient.connect(t, off)
  t.match(await client.plain.ask(await client.peer.first('{}')), { code: 10102, data: { field: 'type' } })
})
