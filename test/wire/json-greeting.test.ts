import { createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { type ClientOptions, WebSocket } from 'ws'
import { dataDir, jsonClient, type RunningGateway, startGateway } from '../helpers/gateway.js'

/** The first frame, and what the handshake answered. */
async function greeting({ httpPort }: RunningGateway, options: ClientOptions = {}) {
  const ws = new WebSocket(`ws://127.0.0.1:${httpPort}/`, options)
  const [[response], [frame, isBinary]] = await Promise.all([once(ws, 'upgrade'), once(ws, 'message')])
  ws.terminate()
  return { text: String(frame), isBinary, headers: (response as IncomingMessage).headers }
}

t.test('the first frame, unasked, is a key and nothing else', async t => {
  const { text, isBinary } = await greeting(await startGateway(t))
  t.match(text, /^\{"key":"[0-9A-F]{64}"\}$/)
  t.equal(isBinary, false)
})

t.test('the key is a usable X25519 public key', async t => {
  const { text } = await greeting(await startGateway(t))
  const x = Buffer.from(JSON.parse(text).key, 'hex').toString('base64url')
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' })
  t.equal(diffieHellman({ publicKey, privateKey: generateKeyPairSync('x25519').privateKey }).length, 32)
})

t.test('the key stays with the data: the same after a restart, another one in another folder', async t => {
  const dir = dataDir(t)
  const first = await startGateway(t, { 'data.dir': dir })
  const before = await greeting(first)
  await first.close()
  const after = await greeting(await startGateway(t, { 'data.dir': dir }))
  const elsewhere = await greeting(await startGateway(t))
  t.equal(after.text, before.text)
  t.not(elsewhere.text, before.text)
})

t.test('no subprotocol and no compression, even where compression is offered', async t => {
  const { headers } = await greeting(await startGateway(t), { perMessageDeflate: true })
  t.equal(headers['sec-websocket-extensions'], undefined)
  t.equal(headers['sec-websocket-protocol'], undefined)
})

t.test('a client that offers the MQTT subprotocol here is not told that this is MQTT', async t => {
  const { httpPort } = await startGateway(t)
  const ws = new WebSocket(`ws://127.0.0.1:${httpPort}/`, ['mqtt'])
  const [error] = await once(ws, 'error')
  t.match(error, { message: /no subprotocol/ })
})

t.test('a client is greeted with or without Origin, and with a query in the path', async t => {
  const gateway = await startGateway(t)
  t.match((await greeting(gateway, { origin: 'https://chat.example' })).text, /^\{"key"/)
  const client = await jsonClient(t, gateway, '/?x=1&lang=')
  t.match(await client.action('login'), { code: 10000 })
})

t.test(
  'what comes right behind the handshake is answered behind the greeting, also a frame that is none',
  async t => {
    const { httpPort } = await startGateway(t)
    /** Sends bytes in the same write as the request to upgrade. @returns all that the server sent, then it is closed */
    const behind = async (bytes: Buffer) => {
      const socket = connect(httpPort, '127.0.0.1')
      t.teardown(() => socket.destroy())
      const key = 'dGhlIHNhbXBsZSBub25jZQ=='
      const head = `GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`
      socket.write(Buffer.concat([Buffer.from(head), bytes]))
      const parts: Buffer[] = []
      socket.on('data', part => parts.push(part))
      await once(socket, 'end')
      const all = Buffer.concat(parts)
      return all.subarray(all.indexOf('\r\n\r\n') + 4)
    }
    const masked = (first: number, payload: string) =>
      Buffer.concat([Buffer.of(first, 0x80 | Buffer.byteLength(payload), 0, 0, 0, 0), Buffer.from(payload)])
    for (const [what, bytes, code] of [
      ['not masked', Buffer.of(0x81, 1, 0x61), 1002],
      ['a reserved bit', masked(0xc1, 'a'), 1002],
      ['not UTF-8', Buffer.of(0x81, 0x81, 0, 0, 0, 0, 0xff), 1007],
      ['too long', Buffer.of(0x81, 0xff, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0, 0, 0, 0), 1009],
      ['a close frame', masked(0x88, String.fromCharCode(4, 0)), 1024],
    ] as const) {
      const got = await behind(bytes)
      const length = got.readUInt8(1)
      t.match(String(got.subarray(2, 2 + length)), /^\{"key"/, what)
      t.equal(got.readUInt8(2 + length), 0x88, 'then a close frame')
      if (code !== 1024) t.equal(got.readUInt16BE(4 + length), code)
      t.equal(got.length, 4 + length + got.readUInt8(3 + length), 'and nothing behind it')
    }
  },
)
