/** A minimal MQTT client, of version 3.1.1 or 5: CONNECT, SUBSCRIBE, and PUBLISH at QoS 1 in both directions. */
import { Chatter, type Frame } from './chatter.js'
import { BLANK } from './flow.js'
import { TAIL } from './json-client.js'
import { emailOf, PASSWORD } from './program.js'

const CONNACK = 2
const PUBLISH = 3
const PUBACK = 4
const SUBACK = 9

/** How long a session that is kept outlives its connection, s. */
const KEPT_SECONDS = 3600

export class MqttClient extends Chatter {
  /** The bytes after the content of a delivered message. */
  readonly #tail: number
  readonly #isGateway: boolean
  /** An empty block of properties where the version has one. */
  readonly #noProperties: Buffer
  #acks: number[] = []
  readonly #answers = new Map<number, (body: Buffer) => void>()

  /** @param broker `plain`: has no accounts and forwards payloads unchanged */
  constructor(
    port: number,
    broker: 'gateway' | 'plain',
    private readonly version: 4 | 5 = 4,
  ) {
    super(port)
    this.#noProperties = Buffer.alloc(version === 5 ? 1 : 0)
    this.#isGateway = broker === 'gateway'
    this.#tail = this.#isGateway ? TAIL : 0
  }

  open(): Promise<void> {
    return this.opened()
  }

  /** CONNECT, and SUBSCRIBE to its own inbox unless the session is present. @param password or a token */
  async enter(id: string, session: 'clean' | 'kept', password = PASSWORD): Promise<void> {
    const flags = (session === 'clean' ? 0x02 : 0) | (this.#isGateway ? 0xc0 : 0)
    const login = this.#isGateway ? [text(emailOf(id)), text(password)] : []
    const [present, code] = await this.#ask(
      packet(0x10, [
        text('MQTT'),
        Buffer.from([this.version, flags, 0, 0]),
        this.version === 5 ? sessionExpiry(session === 'kept' ? KEPT_SECONDS : 0) : this.#noProperties,
        text(`bench-${id}`),
        ...login,
      ]),
      CONNACK,
    )
    if (code !== 0) throw new Error(`CONNECT answered ${code}`)
    if (present !== 1) await this.subscribe(this.#isGateway ? `users/${id}/inbox/#` : `users/${id}/inbox`)
  }

  async subscribe(filter: string): Promise<void> {
    const request = [Buffer.from([0, 1]), this.#noProperties, text(filter), Buffer.from([1])]
    const body = await this.#ask(packet(0x82, request), SUBACK)
    const code = body.at(-1)
    if (code !== 1) throw new Error(`SUBSCRIBE answered ${code}`)
  }

  /** Publishes a retained message at QoS 1; resolves at its PUBACK. */
  async retain(topic: string, payload: string): Promise<void> {
    const body = [text(topic), Buffer.from([0, 1]), this.#noProperties, Buffer.from(payload)]
    await this.#ask(packet(0x33, body), PUBACK)
  }

  protected override frame(recipient: string, slot: number): Frame {
    const bytes = packet(0x32, [
      text(`users/${recipient}/inbox`),
      Buffer.from([0, slot + 1]),
      this.#noProperties,
      Buffer.from(BLANK),
    ])
    return { bytes, contentAt: bytes.length - BLANK.length, mask: 0 }
  }

  protected override parse(bytes: Buffer, end: number): number {
    let at = 0
    while (at + 2 <= end) {
      let length = 0
      let start = at + 1
      let digit = 0x80
      for (let shift = 0; digit >= 0x80 && start < end; shift += 7) {
        digit = bytes[start++] ?? 0
        length |= (digit & 0x7f) << shift
      }
      if (digit >= 0x80 || start + length > end) break
      this.#packet(bytes[at] ?? 0, bytes, start, start + length)
      at = start + length
    }
    this.#flush()
    return at
  }

  #packet(header: number, bytes: Buffer, start: number, end: number): void {
    const type = header >> 4
    if (type === PUBLISH) {
      const idAt = start + 2 + bytes.readUInt16BE(start)
      this.#acks.push(0x40, 2, bytes[idAt] ?? 0, bytes[idAt + 1] ?? 0)
      this.delivered(bytes, end - this.#tail)
    } else if (type === PUBACK && this.outgoing !== undefined) this.acked()
    else {
      this.#answers.get(type)?.(Buffer.from(bytes.subarray(start, end)))
      this.#answers.delete(type)
    }
  }

  /** Sends the answers to one read in one write. */
  #flush(): void {
    this.socket.cork()
    if (this.#acks.length > 0) {
      this.socket.write(Buffer.from(this.#acks))
      this.#acks = []
    }
    this.refill()
    this.socket.uncork()
  }

  #ask(request: Buffer, answer: number): Promise<Buffer> {
    const answered = new Promise<Buffer>(resolve => this.#answers.set(answer, resolve))
    this.socket.write(request)
    return Promise.race([answered, this.broken])
  }
}

/** A length-prefixed UTF-8 text [MQTT-1.5.3]. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes])
}

/** The properties of a CONNECT, with their length. */
function sessionExpiry(seconds: number): Buffer {
  const block = Buffer.from([5, 17, 0, 0, 0, 0])
  block.writeUInt32BE(seconds, 2)
  return block
}

function packet(header: number, parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const length: number[] = []
  let rest = body.length
  do {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
    rest >>>= 7
  } while (rest > 0)
  return Buffer.concat([Buffer.from([header, ...length]), body])
}
