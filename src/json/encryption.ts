/** The encrypted packets of one JSON client: how they begin, and that nothing else follows (docs/encryption.md). */
import { GatewayError } from '../core/errors.js'
import { Channel } from '../encryption/channel.js'
import { ServerKey } from '../encryption/server-key.js'
import { encodePacket, type Packet, parseFrame } from '../protocol/packets.js'
import { encodeGreeting } from '../protocol/replies.js'
import { parseRequest, type Request, type RequestRules } from '../protocol/requests.js'
import type { FrameWriter } from './frame-writer.js'
import type { ConnectionRules } from './host.js'

export type { Packet } from '../protocol/packets.js'

/** @throws RefusedRequest, GatewayError BAD_FIELD; where packets are switched off, one is an unknown request */
export const readFrame = (
  text: string,
  encryption: ConnectionRules['encryption'],
  rules: RequestRules,
): Request | Packet => (encryption === 'off' ? parseRequest(text, rules) : parseFrame(text, rules))

type Suite = NonNullable<Packet['data']['suite']>

export class Encryption {
  #channel: Channel | undefined
  /** Between the first packet and the second. */
  #fresh: ServerKey | undefined
  #isReady = false

  /** @param key of the greeting */
  constructor(
    private readonly key: ServerKey,
    private readonly out: Pick<FrameWriter, 'write' | 'sealWith'>,
  ) {}

  /** Whether the client has begun: it may send nothing else any more. */
  get hasBegun(): boolean {
    return this.#channel !== undefined
  }

  /**
   * To be called for one packet at a time, in the order in which they came.
   * @returns the text of the request in it; undefined: it has none
   * @throws GatewayError ENCRYPTION_FAILED, behind which the connection must end; BAD_FIELD, BAD_JSON
   */
  async open({ data: { suite = 'aes-256-gcm', enc, ct } }: Packet): Promise<string | undefined> {
    const sealed = Buffer.from(ct, 'base64')
    if (enc !== undefined) return this.#setUp(suite, Buffer.from(enc, 'base64'), sealed)
    if (this.#channel === undefined)
      throw new GatewayError('BAD_FIELD', { field: 'enc', reason: 'is missing' })
    if (!this.#isReady) throw new GatewayError('ENCRYPTION_FAILED')
    return this.#channel.openText(sealed)
  }

  async #setUp(suite: Suite, enc: Buffer, sealed: Buffer): Promise<string | undefined> {
    const before = this.#channel
    const key = before === undefined ? this.key : this.#fresh
    if (key === undefined) throw new GatewayError('ENCRYPTION_FAILED')
    this.#fresh = undefined
    const channel = await Channel.open(key, suite, enc, before)
    const text = await channel.openText(sealed)
    this.#channel = channel
    this.out.sealWith(plain => encodePacket(channel.sealText(plain)))
    if (before === undefined) this.#greet(text)
    else this.#isReady = true
    return text === '' ? undefined : text
  }

  /**
   * Nothing in the first packet is of this connection, so who has recorded one could send it again, with all that followed.
   * The second set-up is with a key that is of this connection alone, and that nobody can make again.
   */
  #greet(text: string): void {
    if (text !== '')
      throw new GatewayError('BAD_FIELD', { field: 'ct', reason: 'must be empty in the first packet' })
    this.#fresh = ServerKey.generate()
    this.out.write(encodeGreeting(this.#fresh.public))
  }
}
