/** What one client was sent of shared subscriptions and has not acknowledged: if it vanishes, another member gets it. */
import type { Due } from './held.js'
import type { Outgoing, RoutedPacket } from './packet.js'

export interface Unsettled {
  readonly packet: RoutedPacket
  /** With which it was sent; undefined: it was not. */
  readonly messageId: number | undefined
}

export class SharedInFlight {
  /** By packet id. */
  readonly #packets = new Map<number, RoutedPacket>()

  /** QoS 2 is left out: what has begun is finished by its member, or by none [MQTT-4.8.2-5]. */
  sent({ packet, qos, messageId }: Outgoing): void {
    if (qos === 1 && messageId !== undefined) this.#packets.set(messageId, packet)
  }

  acknowledged(messageId: number): void {
    this.#packets.delete(messageId)
  }

  all(): Unsettled[] {
    return Array.from(this.#packets, ([messageId, packet]) => ({ messageId, packet }))
  }
}

/** Of packets that were held: those of a session that is kept are in its queue. */
export const sharedOf = (held: readonly Due[]): Unsettled[] =>
  held
    .filter(({ packet, isStored }) => packet.share !== undefined && !isStored)
    .map(({ packet }) => ({ packet, messageId: undefined }))
