/** Packets inside the broker. */
import type { PublishPacket } from '../wire/decode.js'
import type { Queued } from './persistence/kv.js'

/** A PUBLISH on its way to its subscribers. */
export interface RoutedPacket extends PublishPacket {
  readonly cmd: 'publish'
  /** The broker that numbered the packet, with `brokerCounter`; undefined for a packet that is stored nowhere. */
  readonly brokerId?: string | undefined
  readonly brokerCounter?: number | undefined
  /** Set when the packet is queued; see OutgoingQueue. */
  queued?: Queued
}

/** A packet that the gateway itself makes. */
export const makePacket = (topic: string, payload: string, qos: 0 | 1): RoutedPacket => ({
  cmd: 'publish',
  topic,
  payload: Buffer.from(payload),
  qos,
  retain: false,
  dup: false,
  messageId: undefined,
})
