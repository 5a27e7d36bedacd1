/** What a transport tells of its connection. */
import type { PacketSink } from './packet-gate.js'
import type { MalformedPacket } from './packet-rules.js'

/** Takes what comes: well-formed packets in order, and what happens to the connection. */
export interface TransportHandler extends PacketSink {
  /** The packets of one read were given. */
  settle(): void
  /** The client is no longer congested, or is gone. */
  drained(): void
  /** The client was silent for longer than its keep alive allows. */
  silent(): void
  /** The client sent a malformed packet. The connection ends now. */
  malformed(error: MalformedPacket): void
  /** The client took nothing for the stall timeout while packets waited. The connection ends now. */
  stalled(): void
  /** A packet was not sent, since it is larger than the client takes [MQTT-3.1.2-24]. Called once. */
  tooLarge(): void
  /** The socket failed. The connection ends now. */
  failed(error: Error): void
  /** Called once: the connection has ended. */
  ended(): void
}
