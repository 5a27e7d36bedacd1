/** Documents of the MongoDB store, by collection (docs/mongodb.md). */
import type { ConversationId } from '../../core/model.js'

/** Everything about an account; one that was deleted keeps `_id` and `ordinal`. */
export interface UserDocument {
  readonly _id: string
  /** 1, 2, 3 … in order of registration; one that failed may leave a hole. */
  readonly ordinal: number
  readonly email?: string
  readonly emailKey?: string
  /** Absent where none is set. */
  readonly username?: string
  readonly firstName?: string
  readonly lastName?: string
  readonly profileImage?: string
  readonly key?: string
  readonly createdAt?: Date
  readonly passwordHash?: string
  readonly deleted?: true
  /** Deleted, and something of it may remain elsewhere. */
  readonly purging?: true
}

/** One row of an inbox. */
export interface MessageDocument {
  /** `<inbox>:<seq>`, which makes the log: no two messages can have one place. */
  readonly _id: string
  readonly inbox: string
  readonly seq: number
  /** UUIDv7. */
  readonly id: string
  /** Kind, as a letter, and sender; absent in rows of data format 1. */
  readonly kind?: string
  readonly sender?: string
  /** The JSON text (core/message.ts); of a broadcast it is in `texts`. */
  readonly text?: string
  /** Of a broadcast: its id again, for a sparse index. */
  readonly shared?: string
  /** Bytes of text, and of all that the inbox was ever given up to here; absent in rows from before they were counted. */
  readonly bytes?: number
  readonly end?: number
  readonly storedAt: Date
  readonly conversation?: ConversationId
  /** JSON text of the dedupKey. */
  readonly dedup?: string
}

/** The text of a broadcast, for as long as a row refers to it. */
export interface TextDocument {
  /** The message's id. */
  readonly _id: string
  readonly text: string
  /** A row of it was removed: there may be none any more. */
  readonly unheld?: true
}

export interface DeviceDocument {
  /** Key of [user, device]. */
  readonly _id: string
  readonly user: string
  readonly device: string
  readonly confirmed: number
  readonly sent: number
  readonly released: readonly number[]
  readonly seenAt: Date
}

export interface InboxDocument {
  readonly _id: string
  /** Highest seq removed by a limit. */
  readonly trimmed?: number
  /** Highest seq confirmed by any device. */
  readonly furthest?: number
}

export interface BrokerDocument {
  /** Key of [gateway, collection, …]. */
  readonly _id: string
  readonly value: Buffer
}

/** The last group of broker writes that had more than one: applied again by the next start. */
export interface JournalDocument {
  /** The gateway's name. */
  readonly _id: string
  readonly values: readonly Buffer[]
  /** Which of `values` goes where; -1: removed. */
  readonly writes: readonly { readonly key: string; readonly value: number }[]
}

export interface GatewayDocument {
  /** Its name. */
  readonly _id: string
  /** Which start of it; absent once it was closed. */
  readonly holder?: string
  readonly host?: string
  readonly pid?: number
  readonly process?: string
  readonly beat: number
}

/** The data format of the database. */
export interface FormatDocument {
  readonly _id: 'data'
  /** Absent: 1. */
  readonly number: number
  /** `_id` of the last message that an upgrade has looked at. */
  readonly upTo?: string
  /** No row of an older format was left when an upgrade came to the end. */
  readonly isUpgraded?: boolean
}
