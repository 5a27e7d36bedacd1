/** A client of encrypted packets by another library than the server's, as docs/encryption.md tells it. */
import { createDecipheriv } from 'node:crypto'
import { Chacha20Poly1305 } from '@hpke/chacha20poly1305'
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256, type SenderContext } from '@hpke/core'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { JsonClient, type Reply, type TestAccount } from './gateway.js'

const AEADS = { 'aes-256-gcm': Aes256Gcm, 'chacha20-poly1305': Chacha20Poly1305 }
export type SuiteName = keyof typeof AEADS

export const peerSuite = (name: SuiteName) =>
  new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new AEADS[name]() })

const utf8 = (text: string) => new TextEncoder().encode(text)
const base64 = (bytes: ArrayBuffer | Uint8Array) => Buffer.from(bytes as Uint8Array).toString('base64')

export class Peer {
  #received = 0n

  private constructor(
    private readonly suite: SuiteName,
    readonly sender: SenderContext,
    private readonly reply: Buffer,
  ) {}

  /** @param key of the server, hex @param before in a second set-up */
  static async setUp(key: string, suite: SuiteName, before?: Peer): Promise<Peer> {
    const one = peerSuite(suite)
    const bound = before === undefined ? [] : new Uint8Array(await before.sender.export(utf8('next'), 32))
    const sender = await one.createSenderContext({
      recipientPublicKey: await one.kem.deserializePublicKey(Buffer.from(key, 'hex')),
      info: Uint8Array.of(...utf8('MumiChat encrypted packets 1'), ...bound),
    })
    return new Peer(suite, sender, Buffer.from(await sender.export(utf8('replies'), 44)))
  }

  get enc(): string {
    return base64(this.sender.enc)
  }

  async seal(text: string): Promise<string> {
    return base64(await this.sender.seal(utf8(text)))
  }

  async first(text: string) {
    return { type: 'encrypted', data: { suite: this.suite, enc: this.enc, ct: await this.seal(text) } }
  }

  async packet(text: string) {
    return { type: 'encrypted', data: { ct: await this.seal(text) } }
  }

  /** @param frame of the server @returns the text in it, with the spaces behind it */
  open(frame: string): string {
    const bytes = Buffer.from(JSON.parse(frame).data.ct, 'base64')
    const nonce = Buffer.from(this.reply.subarray(32))
    nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ this.#received++, 4)
    const key = this.reply.subarray(0, 32)
    const opener = createDecipheriv(this.suite as 'aes-256-gcm', key, nonce, { authTagLength: 16 })
    opener.setAuthTag(bytes.subarray(-16))
    return Buffer.concat([opener.update(bytes.subarray(0, -16)), opener.final()]).toString()
  }
}

export class EncryptedClient {
  readonly plain: JsonClient
  /** Of the greeting. */
  key = ''
  #peer: Peer | undefined

  constructor(
    readonly ws: WebSocket,
    readonly suite: SuiteName,
  ) {
    this.plain = new JsonClient(ws)
  }

  static async connect(
    t: Test,
    { httpPort }: { httpPort: number },
    suite: SuiteName = 'aes-256-gcm',
  ): Promise<EncryptedClient> {
    const client = new EncryptedClient(new WebSocket(`ws://127.0.0.1:${httpPort}/?lang=en`), suite)
    t.teardown(() => client.ws.terminate())
    const { key } = await client.plain.next<{ key: string }>()
    client.key = key
    client.#peer = await Peer.setUp(key, suite)
    return client
  }

  get peer(): Peer {
    if (this.#peer === undefined) throw new Error('not greeted')
    return this.#peer
  }

  /** A packet of a set-up. */
  async begin(request: unknown): Promise<void> {
    this.plain.send(await this.peer.first(request === '' ? '' : JSON.stringify(request)))
  }

  /** An empty first packet, and the second set-up with the key that answers it. @param request in the second */
  async start(request: unknown): Promise<void> {
    await this.begin('')
    const { key } = await this.next<{ key: string }>()
    this.#peer = await Peer.setUp(key, this.suite, this.peer)
    await this.begin(request)
  }

  async send(request: unknown): Promise<void> {
    this.plain.send(await this.peer.packet(typeof request === 'string' ? request : JSON.stringify(request)))
  }

  async next<T = Reply>(): Promise<T> {
    return JSON.parse(this.peer.open(await this.plain.nextText()))
  }

  async ask(request: unknown): Promise<Reply> {
    await this.send(request)
    return this.next()
  }
}

export const login = ({ email, password }: TestAccount, data: object = { ack: 'explicit' }) => ({
  type: 'action',
  action: 'login',
  data: { email, password, ...data },
})

/** With a login. */
export async function encrypted(
  t: Test,
  gateway: { httpPort: number },
  account: TestAccount,
  suite?: SuiteName,
): Promise<EncryptedClient> {
  const client = await EncryptedClient.connect(t, gateway, suite)
  await client.start(login(account))
  const reply = await client.next()
  if (reply.code !== 202) throw new Error(`login: ${reply.code}`)
  return client
}
