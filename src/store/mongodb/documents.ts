/** Documents of the MongoDB store, by collection (docs/mongodb.md). */
import type { ConversationId, SeqRange } from '../../core/model.js'

/** An account. A deleted account keeps only `_id`, `ordinal` and the marks of its deletion. */
export interface UserDocument {
  readonly _id: string
  /** 1, 2, 3 … in order of registration. A failed registration may leave a gap. */
  readonly ordinal: number
  readonly email?: string
  readonly emailKey?: string
  /** Absent = none. */
  readonly username?: string
  readonly firstName?: string
  readonly lastName?: string
  readonly profileImage?: string
  readonly key?: string
  readonly createdAt?: Date
  /** Absent = the account may log in. */
  readonly disabledAt?: Date
  /** Absent = none. */
  readonly role?: 'admin'
  /** Absent = the address was never verified. */
  readonly verifiedAt?: Date
  /** Absent = that of the config. */
  readonly language?: 'zh-TW' | 'en'
  readonly passwordHash?: string
  /** Absent = no second factor. */
  readonly factor?: string
  readonly deleted?: true
  /** The account is deleted, and some of its data may remain. */
  readonly purging?: true
}

/** One row of an inbox. */
export interface MessageDocument {
  /** `<inbox>:<seq>`, so that no two messages have the same position. */
  readonly _id: string
  readonly inbox: string
  readonly seq: number
  /** UUIDv7. */
  readonly id: string
  /** Letter of the kind, and the sender; absent in rows of data format 1. */
  readonly kind?: string
  readonly sender?: string
  /** The JSON text (core/message.ts). The text of a broadcast is in `texts`. */
  readonly text?: string
  /** For a broadcast: the same as `id`, for a sparse index. */
  readonly shared?: string
  /** Bytes of the text, and of all texts of this inbox up to and including this row; absent in older rows. */
  readonly bytes?: number
  readonly end?: number
  readonly storedAt: Date
  readonly conversation?: ConversationId
  /** Absent: the message does not expire. */
  readonly expiresAt?: Date
  /** The dedupKey as JSON text. */
  readonly dedup?: string
}

/** The text of a broadcast. It is kept while a row refers to it. */
export interface TextDocument {
  /** The message's id. */
  readonly _id: string
  readonly text: string
  /** A row that refers to the text was removed, and there may be no other. */
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
  readonly settled?: readonly SeqRange[]
  readonly seenAt: Date
}

export interface InboxDocument {
  readonly _id: string
  /** Highest seq that a limit removed. */
  readonly trimmed?: number
  /** Highest seq confirmed by any device. */
  readonly furthest?: number
}

/** See SharedRecords. */
export interface SharedDocument {
  readonly _id: string
  /** '' = nobody's. */
  readonly user: string
  readonly value: Buffer
}

export interface BrokerDocument {
  /** Key of [gateway, collection, …]. */
  readonly _id: string
  readonly value: Buffer
}

/** The last group of more than one write to the broker's state. The next start applies it again. */
export interface JournalDocument {
  /** Name of the gateway. */
  readonly _id: string
  readonly values: readonly Buffer[]
  /** Key, and index into `values`; -1 = the key is removed. */
  readonly writes: readonly { readonly key: string; readonly value: number }[]
}

export interface GatewayDocument {
  /** Name of the gateway. */
  readonly _id: string
  /** A random id of the running process; absent after a clean stop. */
  readonly holder?: string
  readonly host?: string
  readonly pid?: number
  readonly process?: string
  readonly beat: number
}

/** The data format of the database. */
export interface FormatDocument {
  readonly _id: 'data'
  /** Absent = 1. */
  readonly number: number
  /** `_id` of the last message that the upgrade has checked. */
  readonly upTo?: string
  /** The upgrade is complete: no row of an older format was left. */
  readonly isUpgraded?: boolean
}
