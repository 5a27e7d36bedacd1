import type { PublishPacket } from './wire/decode.js'

/** A will as it is stored, of its properties only those that matter when it is published: whose it is, and by which stored login (token or credential) its client was let in. */
export interface StoredWill extends PublishPacket {
  readonly cmd: 'publish'
  readonly clientId: string
  readonly session?: string
  /** Of MQTT 5: how long after the end of the connection it is published, s. */
  readonly delaySeconds?: number
  /** The connection has ended: when the will is published, ms since the epoch. */
  readonly dueAt?: number
}
