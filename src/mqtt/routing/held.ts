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

/** Estimated memory of a held packet besides topic and payload, bytes. */
const PACKET_BYTES = 200

export class HeldPackets {
  #due: Due[] = []
  #bytes = 0

  constructor(private readonly maxBytes: number) {}

  get isEmpty(): boolean {
    return this.#due.length === 0
  }

  /** @returns false if it was one too many: all are dropped then */
  push(due: Due): boolean {
    this.#bytes += sizeOf(due)
    this.#due.push(due)
    const isHeld = this.#bytes <= this.maxBytes
    if (!isHeld) this.takeAll()
    return isHeld
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

const sizeOf = ({ packet }: Due): number => PACKET_BYTES + packet.topic.length + packet.payload.length
