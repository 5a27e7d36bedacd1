/**
 * Both directions of one encrypted connection. What the client sends is sealed by its HPKE context (RFC 9180, base mode);
 * what the server sends, by a key that both export from that context (RFC 9180, 9.8). Each direction counts its packets, and
 * the count is in the nonce: a packet that is repeated, left out or put elsewhere does not open.
 */
import { isUtf8 } from 'node:buffer'
import type { RecipientContext } from 'hpke'
import { GatewayError } from '../core/errors.js'
import { writeText } from '../core/write-text.js'
import { type AeadName, KEY_BYTES, NONCE_BYTES, sealBytes } from './aead.js'
import type { ServerKey } from './server-key.js'
import { suites } from './suites.js'

/** `info` of the first set-up of a connection; of a second one, what the first exports for `next` follows. */
const INFO = Buffer.from('MumiChat encrypted packets 1')
const REPLIES = Buffer.from('replies')
const NEXT = Buffer.from('next')
const NEXT_BYTES = 32
/** The length of what the server seals is a multiple of it: 202 and 10000 look alike. JSON may end in spaces. */
const PADDED_TO = 64
const SPACE = 0x20

export class Channel {
  /** Packets of the server so far. */
  #sent = 0

  private constructor(
    private readonly aead: AeadName,
    private readonly context: RecipientContext,
    private readonly key: Uint8Array,
    private readonly nonce: Buffer,
  ) {}

  /**
   * The server's end of a set-up. The suite and both public keys are in the keys that come of it (RFC 9180, 4.1 and 5.1).
   * @param enc the client's encapsulated key, 32 bytes @param before the channel that this one takes the place of
   * @throws GatewayError ENCRYPTION_FAILED
   */
  static async open(key: ServerKey, aead: AeadName, enc: Uint8Array, before?: Channel): Promise<Channel> {
    const { [aead]: suite } = await suites()
    const pair = await key.pair()
    const info = before === undefined ? INFO : Buffer.concat([INFO, await before.#next()])
    const context = await suite.SetupRecipient(pair, enc, { info }).catch(refuse)
    const both = await context.Export(REPLIES, KEY_BYTES + NONCE_BYTES)
    return new Channel(aead, context, both.slice(0, KEY_BYTES), Buffer.from(both.slice(KEY_BYTES)))
  }

  #next(): Promise<Uint8Array> {
    return this.context.Export(NEXT, NEXT_BYTES)
  }

  /** One packet of the client, in the order in which they come. @returns its text @throws GatewayError ENCRYPTION_FAILED, BAD_JSON */
  async openText(sealed: Uint8Array): Promise<string> {
    const plain = await this.context.Open(sealed).catch(refuse)
    if (!isUtf8(plain)) throw new GatewayError('BAD_JSON', { reason: 'not UTF-8' })
    return Buffer.from(plain.buffer, plain.byteOffset, plain.length).toString()
  }

  /** The next packet of the server. @param text JSON */
  sealText(text: string): Buffer {
    const length = Buffer.byteLength(text)
    const plain = Buffer.alloc(Math.ceil(length / PADDED_TO) * PADDED_TO, SPACE)
    writeText(plain, text, length, 0)
    return sealBytes(this.aead, this.key, this.#nextNonce(), plain)
  }

  /** RFC 9180, 5.2: the base nonce XOR the sequence number. */
  #nextNonce(): Buffer {
    const nonce = Buffer.from(this.nonce)
    nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ BigInt(this.#sent++), 4)
    return nonce
  }
}

/** One code for all that does not open: which it was tells an attacker nothing. */
function refuse(cause: unknown): never {
  throw new GatewayError('ENCRYPTION_FAILED', null, cause)
}
