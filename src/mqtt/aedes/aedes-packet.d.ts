/** Replaces the package's own types, which declare the constructor as a function. */
declare module 'aedes-packet' {
  import type { AedesPublishPacket, PublishPacket } from 'aedes'
  /** Copies a packet, and sets `brokerId` and `brokerCounter` if they are missing. */
  export default class Packet {
    constructor(original: PublishPacket | AedesPublishPacket, broker?: object)
  }
}
