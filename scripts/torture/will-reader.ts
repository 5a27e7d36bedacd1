/**
 * A device that receives each will, also those published while it was away. It uses QoS 2 in a persistent session, so a
 * resend has its original packet id and is delivered once.
 */
import mqtt, { type MqttClient, type Packet } from 'mqtt'
import type { WillLedger } from './will-ledger.js'

export interface WillReaderOptions {
  readonly name: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly reconnectMs: number
  readonly protocolVersion: 4 | 5
  readonly ledger: WillLedger
  readonly trace: (text: string) => void
}

export class WillReader {
  readonly #client: MqttClient
  #received = 0

  constructor(private readonly options: WillReaderOptions) {
    const { name, port, username, password, reconnectMs, protocolVersion } = options
    this.#client = mqtt.connect({
      host: '127.0.0.1',
      port,
      username,
      password,
      clientId: name,
      protocolVersion,
      clean: false,
      ...(protocolVersion === 5 && { properties: { sessionExpiryInterval: 0xffff_ffff } }),
      resubscribe: false,
      reconnectPeriod: reconnectMs,
    })
    this.#client.on('error', () => undefined)
    this.#client.on('message', (topic, payload) => this.#take(topic, payload.toString()))
    this.#client.on('packetreceive', packet => this.#trace('<', packet))
    this.#client.on('packetsend', packet => this.#trace('>', packet))
    options.ledger.hasReader(name)
  }

  async subscribe(topics: readonly string[]): Promise<void> {
    const filters = topics.map(topic => `${topic}/#`)
    await this.#client.subscribeAsync(filters, { qos: 2 })
  }

  end(): void {
    this.#client.end(true)
  }

  /** The seq identifies an inbox message; a resend has the same one. */
  #take(topic: string, payload: string): void {
    const { name, ledger } = this.options
    const isPlain = topic.startsWith('wills/')
    const { content, seq } = isPlain ? { content: payload, seq: -1 } : JSON.parse(payload)
    ledger.published(content, name, isPlain ? `arrival ${this.#received++}` : `seq ${seq}`)
  }

  #trace(way: string, packet: Packet): void {
    const what = packet.cmd === 'publish' ? ` ${packet.dup ? 'DUP ' : ''}${packet.payload}` : ''
    this.options.trace(`${this.options.name} ${way} ${packet.cmd} ${packet.messageId ?? ''}${what}`)
  }
}
