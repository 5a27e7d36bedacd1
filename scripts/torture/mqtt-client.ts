/** A device that speaks MQTT 3.1.1: its session (what it must remember between connections), and how it connects. */
import { connect as connectTcp } from 'node:net'
import type { Duplex } from 'node:stream'
import { createWebSocketStream, WebSocket } from 'ws'
import { within } from '../within.js'
import { Client, type ClientOptions, type Link } from './client.js'
import { MqttLink } from './mqtt-link.js'
import type { Outgoing } from './outbox.js'

export interface MqttRole {
  readonly front: 'mqtt'
  readonly transport: 'tcp' | 'websocket'
  readonly clean: boolean
  readonly qos: 1 | 2
  /** For one that answers slowly. */
  readonly ackDelayMs?: number
}

interface InboxMessage {
  readonly content: string
  readonly seq: number
  readonly id: string
}

const ANSWER_TIMEOUT_MS = 10_000
const RESUBSCRIBE_ANYWAY = 0.2

/** The client's side of a session [MQTT-3.1.2.4]. */
export class MqttSession {
  /** A SUBACK came. */
  isSubscribed = false
  /** QoS 2 messages whose PUBREL has not come: they are handed on then, and only then (4.3.3, method A). */
  readonly incoming = new Map<number, InboxMessage>()
  /** QoS 1 and 2 by packet id. */
  readonly outgoing = new Map<number, Outgoing>()
  /** QoS 2: PUBREC came and PUBCOMP did not. */
  readonly releasing = new Set<number>()
  #lastPacketId = 0

  renew(keepsOutgoing: boolean): void {
    this.isSubscribed = false
    this.incoming.clear()
    this.releasing.clear()
    if (!keepsOutgoing) this.outgoing.clear()
  }

  newPacketId(): number {
    do this.#lastPacketId = (this.#lastPacketId % 0xffff) + 1
    while (this.outgoing.has(this.#lastPacketId) || this.releasing.has(this.#lastPacketId))
    return this.#lastPacketId
  }
}

export class MqttClient extends Client {
  readonly session = new MqttSession()

  constructor(
    options: ClientOptions,
    readonly role: MqttRole,
    readonly clientId: string,
    /** The server has forgotten a persistent session that it had acknowledged a subscription of. */
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

  /** How long after a packet its answer leaves, ms. */
  get ackDelayMs(): number {
    return this.isHurried ? 0 : (this.role.ackDelayMs ?? 0)
  }

  /** Whether a connection ends with RST, where the transport can. */
  get wantsReset(): boolean {
    return this.random.chance(0.5)
  }

  received(message: InboxMessage): void {
    this.ledger.received(this.device, message)
  }

  async #enter(link: MqttLink): Promise<Link> {
    const { session, role } = this
    const isPresent = await link.connect()
    if (role.clean || !isPresent) {
      if (session.isSubscribed && !role.clean) this.onSessionLost()
      // Some client libraries resend across clean sessions with packet id and DUP, MQTT.js for one.
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
