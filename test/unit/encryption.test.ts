import { createHash, createPrivateKey, randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { openBytes, sealBytes } from '../../src/encryption/aead.js'
import { Channel } from '../../src/encryption/channel.js'
import { ServerKey } from '../../src/encryption/server-key.js'
import { suites } from '../../src/encryption/suites.js'
import { Encryption, type Packet, readFrame } from '../../src/json/encryption.js'
import { encodePacket, parseFrame } from '../../src/protocol/packets.js'
import { Peer, peerSuite, type SuiteName } from '../helpers/encrypted-client.js'
import { ofKind } from '../helpers/kind.js'

const hex = (text: string) => Buffer.from(text, 'hex')
const NAMES: readonly SuiteName[] = ['aes-256-gcm', 'chacha20-poly1305']

/** @param secret and its public key, hex */
function keyOf(secret: string, known: string): ServerKey {
  const part = (text: string) => hex(text).toString('base64url')
  const key = { kty: 'OKP', crv: 'X25519', d: part(secret), x: part(known) }
  return new ServerKey(createPrivateKey({ key, format: 'jwk' }))
}

/** What RFC 9180 encrypts in its test vectors. */
const BEAUTY = hex('4265617574792069732074727574682c20747275746820626561757479')
const INFO = hex('4f6465206f6e2061204772656369616e2055726e')

t.test('RFC 9180, A.2: X25519, HKDF-SHA256, ChaCha20-Poly1305', async t => {
  const key = keyOf(
    '8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb',
    '4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a',
  )
  const enc = hex('1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a')
  const suite = (await suites())['chacha20-poly1305']
  const context = await suite.SetupRecipient(await key.pair(), enc, { info: INFO })
  const baseKey = hex('ad2744de8e17f4ebba575b3f5f5a8fa1f69c2a07f6e7500bc60ca6e3e3ec1c91')
  const expected = new Map([
    [0, '1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28'],
    [1, '6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f59992dc98c'],
    [2, '71146bd6795ccc9c49ce25dda112a48f202ad220559502cef1f34271e0cb4b02b4f10ecac6f48c32f878fae86b'],
    [4, '63357a2aa291f5a4e5f27db6baa2af8cf77427c7c1a909e0b37214dd47db122bb153495ff0b02e9e54a50dbe16'],
    [255, '18ab939d63ddec9f6ac2b60d61d36a7375d2070c9b683861110757062c52b8880a5f6b3936da9cd6c23ef2a95c'],
    [256, '7a4a13e9ef23978e2c520fd4d2e757514ae160cd0cd05e556ef692370ca53076214c0c40d4c728d6ed9e727a5b'],
  ])
  for (let count = 0; count <= 256; count++) {
    const aad = Buffer.from(`Count-${count}`)
    const nonce = hex('5c4d98150661b848853b547f')
    nonce.writeUInt16BE(nonce.readUInt16BE(10) ^ count, 10)
    const sealed = sealBytes('chacha20-poly1305', baseKey, nonce, BEAUTY, aad)
    if (expected.has(count)) t.equal(sealed.toString('hex'), expected.get(count), `packet ${count}`)
    t.same(Buffer.from(await context.Open(sealed, aad)), BEAUTY)
  }
})

/** A stream of bytes that the vectors below are drawn from. */
function shake(bytes: number) {
  const stream = createHash('shake128', { outputLength: bytes }).digest()
  let at = 0
  return (length: number) => {
    const drawn = stream.subarray(at, at + length)
    at += length
    return drawn
  }
}

/**
 * The vectors of RFC 9180 that its text does not print, in the short form that the Go project made of them: a hash of the
 * ciphertexts, or exports, of inputs that are drawn from SHAKE128.
 */
const DRAWN = {
  'aes-256-gcm': {
    ikmE: '2cd7c601cefb3d42a62b04b7a9041494c06c7843818e0ce28a8f704ae7ab20f9',
    skR: '497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d',
    pkR: '430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c',
    enc: '6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256',
    encryptions: '1702e73e1e71705faa8241022af1deea',
    exports: '5cb678bf1c52afbd9afb58b8f7c1ced3',
  },
  'chacha20-poly1305': {
    ikmE: '909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b',
    skR: '8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb',
    pkR: '4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a',
    enc: '1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a',
    encryptions: '225fb3d35da3bb25e4371bcee4273502',
    exports: '54e2189c04100b583c84452f94eb9a4a',
  },
} as const

for (const name of NAMES) {
  t.test(`RFC 9180, ${name}: a thousand packets of the peer open, and a thousand exports`, async t => {
    const { ikmE, skR, pkR, enc, encryptions, exports } = DRAWN[name]
    const peer = peerSuite(name)
    const sender = await peer.createSenderContext({
      recipientPublicKey: await peer.kem.deserializePublicKey(hex(pkR)),
      info: INFO,
      ekm: await peer.kem.deriveKeyPair(hex(ikmE)),
    })
    t.equal(Buffer.from(sender.enc).toString('hex'), enc)
    const context = await (await suites())[name].SetupRecipient(await keyOf(skR, pkR).pair(), hex(enc), {
      info: INFO,
    })
    const draw = shake(600_000)
    const drawn = () => draw(draw(1).readUInt8())
    const sink = createHash('shake128', { outputLength: 16 })
    for (let i = 0; i < 1000; i++) {
      const [aad, plain] = [drawn(), drawn()]
      const sealed = new Uint8Array(await sender.seal(plain, aad))
      sink.update(sealed)
      const opened = Buffer.from(await context.Open(sealed, aad))
      if (!opened.equals(plain)) t.fail(`packet ${i}`)
    }
    t.equal(sink.digest('hex'), encryptions)
    const drawAgain = shake(600_000)
    const exported = createHash('shake128', { outputLength: 16 })
    for (let length = 0; length < 1000; length++) {
      const of = drawAgain(drawAgain(1).readUInt8())
      // The library exports one byte at least.
      if (length > 0) exported.update(await context.Export(of, length))
    }
    t.equal(exported.digest('hex'), exports)
  })
}

t.test('what was changed does not open, and neither does what is shorter than a tag', async t => {
  const [key, nonce, plain] = [randomBytes(32), randomBytes(12), randomBytes(99)]
  for (const name of NAMES) {
    const sealed = sealBytes(name, key, nonce, plain)
    t.same(openBytes(name, key, nonce, sealed), plain)
    for (const at of [0, 50, 98, 99, 114]) {
      const other = Buffer.from(sealed)
      other.writeUInt8(other.readUInt8(at) ^ 1, at)
      t.throws(() => openBytes(name, key, nonce, other))
    }
    for (const length of [0, 15, 16, 114])
      t.throws(() => openBytes(name, key, nonce, sealed.subarray(0, length)))
    t.throws(() => openBytes(name, key, nonce, sealed, Buffer.from('x')), 'another AAD')
  }
})

for (const name of NAMES) {
  t.test(`a channel and a peer of another library understand each other: ${name}`, async t => {
    const key = ServerKey.generate()
    const peer = await Peer.setUp(key.public, name)
    const channel = await Channel.open(key, name, Buffer.from(peer.enc, 'base64'))
    for (let i = 0; i < 300; i++) {
      const text = `{"n":${i},"content":"${'好'.repeat(i)}"}`
      t.equal(await channel.openText(Buffer.from(await peer.seal(text), 'base64')), text)
      const opened = peer.open(encodePacket(channel.sealText(text)))
      t.equal(Buffer.byteLength(opened) % 64, 0, 'padded')
      t.equal(opened.trimEnd(), text)
    }
  })
}

const failed = ofKind('ENCRYPTION_FAILED')

t.test('a packet opens once, and in its place', async t => {
  const key = ServerKey.generate()
  const pair = async () => {
    const peer = await Peer.setUp(key.public, 'aes-256-gcm')
    const channel = await Channel.open(key, 'aes-256-gcm', Buffer.from(peer.enc, 'base64'))
    const seal = async (text: string) => Buffer.from(await peer.seal(text), 'base64')
    return { channel, seal }
  }
  const one = await pair()
  const [a, b] = [await one.seal('a'), await one.seal('b')]
  await t.rejects(one.channel.openText(b), failed, 'out of order')
  t.equal(await one.channel.openText(a), 'a')
  await t.rejects(one.channel.openText(a), failed, 'repeated')
  const other = await pair()
  await t.rejects(other.channel.openText(a), failed, 'of another connection')
  await t.rejects(one.channel.openText(Buffer.from(one.channel.sealText('x'))), failed, 'of the server')
})

t.test('a set-up for another key, suite or connection fails, and one with a weak key, too', async t => {
  const key = ServerKey.generate()
  const peer = await Peer.setUp(key.public, 'aes-256-gcm')
  const enc = Buffer.from(peer.enc, 'base64')
  const sealed = Buffer.from(await peer.seal('{}'), 'base64')
  const opens = async (...args: Parameters<typeof Channel.open>) =>
    (await Channel.open(...args)).openText(sealed)
  t.equal(await opens(key, 'aes-256-gcm', enc), '{}')
  await t.rejects(opens(ServerKey.generate(), 'aes-256-gcm', enc), failed)
  await t.rejects(opens(key, 'chacha20-poly1305', enc), failed)
  await t.rejects(opens(key, 'aes-256-gcm', enc, await Channel.open(key, 'aes-256-gcm', enc)), failed)
  // RFC 7748, 6.1: the shared secret of points of small order is zero whatever the key, which RFC 9180 (7.1.4) has refused.
  for (const weak of [
    Buffer.alloc(32),
    hex('0100000000000000000000000000000000000000000000000000000000000000'),
    hex('e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800'),
    hex('5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157'),
    hex('ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'),
    hex('edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'),
    hex('eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'),
  ])
    await t.rejects(Channel.open(key, 'aes-256-gcm', weak), failed, weak.toString('hex'))
})

t.test(
  'who recorded a connection and has the key of the greeting opens nothing behind the second set-up',
  async t => {
    const [key, fresh] = [ServerKey.generate(), ServerKey.generate()]
    const first = await Peer.setUp(key.public, 'aes-256-gcm')
    const second = await Peer.setUp(fresh.public, 'aes-256-gcm', first)
    const recorded = {
      first: [Buffer.from(first.enc, 'base64'), Buffer.from(await first.seal('a'), 'base64')],
      second: [Buffer.from(second.enc, 'base64'), Buffer.from(await second.seal('b'), 'base64')],
    } as const
    const thief = await Channel.open(key, 'aes-256-gcm', recorded.first[0])
    t.equal(await thief.openText(recorded.first[1]), 'a', 'of the first, all')
    const tries = [thief, await Channel.open(key, 'aes-256-gcm', recorded.second[0])]
    tries.push(await Channel.open(key, 'aes-256-gcm', recorded.second[0], thief))
    for (const one of tries) await t.rejects(one.openText(recorded.second[1]), failed)
    const server = await Channel.open(fresh, 'aes-256-gcm', recorded.second[0], thief)
    t.equal(await server.openText(recorded.second[1]), 'b', 'the key of the connection is what it takes')
  },
)

t.test('text that is not UTF-8 is refused, though it opens', async t => {
  const key = ServerKey.generate()
  const peer = await Peer.setUp(key.public, 'aes-256-gcm')
  const channel = await Channel.open(key, 'aes-256-gcm', Buffer.from(peer.enc, 'base64'))
  const sealed = new Uint8Array(await peer.sender.seal(Uint8Array.of(0xff, 0xfe)))
  await t.rejects(channel.openText(sealed), ofKind('BAD_JSON'))
})

const RULES = { maxDepth: 8, maxValues: 256, unknownFields: 'ignore' } as const

t.test('the form of a packet', async t => {
  const rules = RULES
  const ct = Buffer.alloc(16).toString('base64')
  const enc = Buffer.alloc(32).toString('base64')
  const parse = (data: unknown, more = {}) =>
    parseFrame(JSON.stringify({ type: 'encrypted', data, ...more }), { ...rules, ...more })
  t.same(parse({ ct }), { name: 'encrypted', data: { ct } })
  t.same(parse({ enc, ct, suite: 'chacha20-poly1305' }).data, { enc, ct, suite: 'chacha20-poly1305' })
  for (const [field, data] of [
    ['data', undefined],
    ['data', []],
    ['ct', {}],
    ['ct', { ct: 1 }],
    ['ct', { ct: 'AAAA' }],
    ['ct', { ct: `${ct}!` }],
    ['ct', { ct: `=${ct}` }],
    ['ct', { ct: ct.replace('A', '-') }],
    ['enc', { ct, enc: '' }],
    ['enc', { ct, enc: Buffer.alloc(31).toString('base64') }],
    ['enc', { ct, enc: Buffer.alloc(33).toString('base64') }],
    ['suite', { ct, enc, suite: 'aes-128-gcm' }],
    ['suite', { ct, enc, suite: '__proto__' }],
  ] as const)
    t.throws(() => parse(data), ofKind('BAD_FIELD', { info: { field } }), JSON.stringify(data))
  const strict = { unknownFields: 'refuse' } as const
  t.throws(
    () => parseFrame(`{"type":"encrypted","id":"x","data":{"ct":"${ct}"}}`, { ...rules, ...strict }),
    ofKind('BAD_FIELD', { info: { field: 'id' } }),
  )
  t.match(parseFrame('{"type":"message","data":{"recipient":"289559048","content":"x"}}', rules), {
    name: 'message',
  })
})

// ── json/encryption ───────────────────────────────────────────────────────────────────────────────────────

/** The packets of one connection, and what leaves for its client. */
function connection(key: ServerKey) {
  const left: string[] = []
  let seal = (text: string) => text
  const out = {
    write: (text: string) => void left.push(seal(text)),
    sealWith: (by: typeof seal) => {
      seal = by
    },
  }
  return { encryption: new Encryption(key, out), left, out }
}

const read = (packet: object) => readFrame(JSON.stringify(packet), 'allow', RULES) as Packet

/** Behind an empty first packet. */
async function greeted(t: Test, key: ServerKey) {
  const made = connection(key)
  const first = await Peer.setUp(key.public, 'chacha20-poly1305')
  t.equal(await made.encryption.open(read(await first.first(''))), undefined)
  const fresh: string = JSON.parse(first.open(made.left.pop() ?? '')).key
  return { ...made, first, fresh }
}

t.test('json/encryption: two set-ups, the second with a key of the connection; no third', async t => {
  const key = ServerKey.generate()
  const { encryption, left, out, first, fresh } = await greeted(t, key)
  t.equal(encryption.hasBegun, true)
  const second = await Peer.setUp(fresh, 'aes-256-gcm', first)
  t.equal(await encryption.open(read(await second.first('one'))), 'one')
  t.strictSame(left, [], 'and no third key')
  t.equal(await encryption.open(read(await second.packet('two'))), 'two')
  out.write('reply')
  t.throws(() => first.open(left[0] ?? ''), 'the first keys are no longer used')
  t.equal(second.open(left[0] ?? '').trimEnd(), 'reply')
  const third = await Peer.setUp(fresh, 'aes-256-gcm', second)
  await t.rejects(encryption.open(read(await third.first('x'))), failed)
})

t.test('json/encryption: first keys take no request, and a second set-up is bound to them', async t => {
  const key = ServerKey.generate()
  const { encryption } = connection(key)
  const early = await Peer.setUp(key.public, 'aes-256-gcm')
  await t.rejects(encryption.open(read(await early.packet('x'))), ofKind('BAD_FIELD'))
  t.equal(encryption.hasBegun, false)
  const full = await Peer.setUp(key.public, 'aes-256-gcm')
  await t.rejects(encryption.open(read(await full.first('x'))), ofKind('BAD_FIELD'))
  t.equal(encryption.hasBegun, true)
  await t.rejects(encryption.open(read(await full.packet('x'))), failed)
  await t.rejects(encryption.open(read(await full.first('x'))), failed)

  const one = await greeted(t, key)
  await t.rejects(one.encryption.open(read(await one.first.packet('x'))), failed, 'by the first keys')
  const other = await greeted(t, key)
  const alone = await Peer.setUp(other.fresh, 'aes-256-gcm')
  await t.rejects(other.encryption.open(read(await alone.first('x'))), failed, 'not bound to the first')
  const third = await greeted(t, key)
  const same = await Peer.setUp(key.public, 'aes-256-gcm', third.first)
  await t.rejects(third.encryption.open(read(await same.first('x'))), failed, 'with the key of the greeting')
})

t.test('json/encryption: where packets are off, one is an unknown request', async t => {
  const packet = JSON.stringify({ type: 'encrypted', data: {} })
  t.throws(() => readFrame(packet, 'off', RULES), ofKind('UNKNOWN_REQUEST'))
  t.throws(() => readFrame(packet, 'require', RULES), ofKind('BAD_FIELD'))
})
