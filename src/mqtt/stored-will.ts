import type { PublishPacket } from './wire/decode.js'

/** A will as it is stored: whose it is, and by which stored login (token or credential) its client was let in. */
export interface StoredWill extends PublishPacket {
  readonly cmd: 'publish'
  readonly clientId: string
  readonly session?: string
}
