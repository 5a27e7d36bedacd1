/** An MQTT device and the client side of its session. */
import type { Outgoing } from './outbox.js'

export interface MqttRole {
  readonly front: 'mqtt'
  readonly transport: 'tcp' | 'websocket'
  readonly clean: boolean
  readonly qos: 1 | 2
  /** Default: another one at each connection. */
  readonly version?: 4 | 5
  /** Delay of acknowledgements, for a slow client, ms. */
  readonly ackDelayMs?: number
}

export interface InboxMessage {
  readonly content: string
  readonly seq: number
  readonly id: string
}

/** The client's side of a session [MQTT-3.1.2.4]. */
export class MqttSession {
  /** A SUBACK was received. */
  isSubscribed = false
  /** QoS 2 messages that wait for PUBREL; only then are they delivered (MQTT 3.1.1, 4.3.3, method A). */
  readonly incoming = new Map<number, InboxMessage>()
  /** Unacknowledged QoS 1 and 2 messages by packet id. */
  readonly outgoing = new Map<number, Outgoing>()
  /** QoS 2: PUBREC was received, PUBCOMP was not. */
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
