/** Counts what goes over the connections of a broker since it was started. */
import { PUBLISH, TYPE } from './packet-types.js'

export class Traffic {
  readonly received = { packets: 0, bytes: 0, publishes: 0 }
  readonly sent = { packets: 0, bytes: 0, publishes: 0 }

  /** @param first the packet's first byte @param bytes its length */
  receive(first: number, bytes: number): void {
    count(this.received, first, bytes)
  }

  /** @param packet one whole packet */
  send(packet: Uint8Array): void {
    count(this.sent, packet[0] ?? 0, packet.length)
  }
}

function count(way: Traffic['received'], first: number, bytes: number): void {
  way.packets++
  way.bytes += bytes
  if ((first & TYPE) === PUBLISH) way.publishes++
}
