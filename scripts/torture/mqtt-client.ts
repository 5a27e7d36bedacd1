/** A device with MQTT 3.1.1 or 5, and how it connects. */
import { connect as connectTcp } from 'node:net'
import type { Duplex } from 'node:stream'
import { createWebSocketStream, WebSocket } from 'ws'
import { within } from '../within.js'
import { Client, type ClientOptions, type Link } from './client.js'
import { type LinkOwner, MqttLink } from './mqtt-link.js'
import { type InboxMessage, type MqttRole, MqttSession } from './mqtt-session.js'

const ANSWER_TIMEOUT_MS = 10_000
const RESUBSCRIBE_ANYWAY = 0.2

export class MqttClient extends Client implements LinkOwner {
  readonly session = new MqttSession()

  constructor(
    options: ClientOptions,
    readonly role: MqttRole,
    readonly clientId: string,
    /** Called if the server lost a persistent session although it had acknowledged a subscription in it. */
    private readonly onSessionLost: () => void,
  ) {
    super(options)
  }

  protected async connect(): Promise<Link> {
    const link = new MqttLink(this.#open(), this)
    try {
      return await within(ANSWER_TIMEOUT_MS, this.#enter(link))
    } catch (error) {
      link.cut()
      throw error
    }
  }

  get credentials() {
    return { username: this.device.account.email, password: Buffer.from(this.password) }
  }

  /** Delay of the answer to a packet, ms. */
  get ackDelayMs(): number {
    return this.isHurried ? 0 : (this.role.ackDelayMs ?? 0)
  }

  /** Whether a connection ends with RST, if the transport supports it. */
  get wantsReset(): boolean {
    return this.random.chance(0.5)
  }

  /** Its session is taken up in another version. */
  get version(): 4 | 5 {
    return this.role.version ?? this.random.pick([4, 5])
  }

  get receiveMaximum(): number {
    return this.random.pick([1, 3, 20, 0xffff])
  }

  received(message: InboxMessage): void {
    this.ledger.received(this.device, message)
  }

  wronged(how: string): void {
    this.ledger.corrupt.push(`${this.clientId}: ${how}`)
  }

  async #enter(link: MqttLink): Promise<Link> {
    const { session, role } = this
    const isPresent = await link.connect()
    if (role.clean || !isPresent) {
      if (session.isSubscribed && !role.clean) this.onSessionLost()
      // Some client libraries, MQTT.js for example, resend in a new clean session with packet id and DUP.
      session.renew(role.clean && this.random.chance(0.5))
    }
    if (session.isSubscribed && !this.random.chance(RESUBSCRIBE_ANYWAY)) return link
    await link.subscribe()
    session.isSubscribed = true
    return link
  }

  #open(): Duplex {
    const { http, mqtt } = this.ports
    if (this.role.transport === 'tcp') return connectTcp({ port: mqtt, host: '127.0.0.1', noDelay: true })
    const options = { perMessageDeflate: false, handshakeTimeout: ANSWER_TIMEOUT_MS }
    return createWebSocketStream(new WebSocket(`ws://127.0.0.1:${http}/mqtt`, 'mqtt', options))
  }
}
