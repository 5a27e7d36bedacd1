/** Live QoS 1 and 2 packets that wait until the stored queue is sent, or the client has acknowledged others. */
import type { RoutedPacket } from './packet.js'
import type { Grant } from './route.js'

/** A packet to send, and what its subscription was granted. */
export interface Due {
  readonly packet: RoutedPacket
  readonly grant: Grant
  /** false: the packet is in no queue, whatever the session. */
  readonly isStored: boolean
}

/** Estimated memory of a held packet besides topic, payload and properties, bytes. */
const PACKET_BYTES = 200

export class HeldPackets {
  #due: Due[] = []
  #bytes = 0

  constructor(private readonly maxBytes: number) {}

  get isEmpty(): boolean {
    return this.#due.length === 0
  }

  /** @returns false if it was one too many: the connection must end now, with all that is held */
  push(due: Due): boolean {
    this.#bytes += sizeOf(due)
    this.#due.push(due)
    return this.#bytes <= this.maxBytes
  }

  /** How many are lost with the connection: those in no queue, and for no other member of a group. */
  get lost(): number {
    return this.#due.filter(({ packet, isStored }) => !isStored && packet.share === undefined).length
  }

  shift(): Due | undefined {
    const due = this.#due.shift()
    if (due !== undefined) this.#bytes -= sizeOf(due)
    return due
  }

  takeAll(): Due[] {
    this.#bytes = 0
    return this.#due.splice(0)
  }
}

const sizeOf = ({ packet: { topic, payload, block } }: Due): number =>
  PACKET_BYTES + topic.length + payload.length + (block?.length ?? 0)
