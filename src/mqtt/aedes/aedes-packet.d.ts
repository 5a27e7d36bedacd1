/** The package's own types call a constructor a function. */
declare module 'aedes-packet' {
  import type { AedesPublishPacket, PublishPacket } from 'aedes'
  /** Copies a packet and numbers it (`brokerId`, `brokerCounter`) where it is not yet. */
  export default class Packet {
    constructor(original: PublishPacket | AedesPublishPacket, broker?: object)
  }
}
