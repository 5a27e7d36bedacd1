/**
 * Types that every layer shares, the text forms of ids, and the check of permissions for everything that clients send.
 */
import { GatewayError, type Locale } from './errors.js'
import type { MessageKind } from './message-kinds.js'

/** Nine decimal digits, first digit not 0 (docs/protocol.md). */
export type UserId = string

/** Regular expression source of a user id, without anchors, for expressions and schemas in which an id is one part. */
export const USER_ID = '[1-9][0-9]{8}'

const WHOLE_USER_ID = new RegExp(`^${USER_ID}$`)

export const isUserId = (id: string): boolean => WHOLE_USER_ID.test(id)

/** When a message was made, ms since the epoch: the first 48 bits of its id, a UUIDv7 (RFC 9562, 5.7). */
export const madeAt = (messageId: string): number =>
  Number.parseInt(messageId.slice(0, 8) + messageId.slice(9, 13), 16)

/** What code above the store may know of a user: no password and no hash. */
export interface User {
  readonly id: UserId
  /** As it was registered. Uniqueness is judged by `emailKey`. */
  readonly email: string
  /** Normalised email: NFC, lower case, ASCII domain. */
  readonly emailKey: string
  /** '' = none; otherwise unique. */
  readonly username: string
  readonly firstName: string
  readonly lastName: string
  readonly profileImage: string
  readonly key: string
  /** ms since the epoch. */
  readonly createdAt: number
  /** When an operator disabled the account, ms since the epoch; undefined = it may log in. */
  readonly disabledAt?: number
  /** When the owner showed that mail to `email` arrives, ms since the epoch; undefined = never. */
  readonly verifiedAt?: number
  /** Of what is written to the owner; undefined = the language of the config. */
  readonly language?: Locale
  /** A role that an operator has granted; `roles.admins` of the config names further admins. */
  readonly role?: GrantedRole
}

/** A role that is stored with an account. */
export type GrantedRole = 'admin'

/**
 * `device`: logged in with the credential of one MQTT client id, or with an app password; `admin`: an account that `roles.admins` names, or to which an
 * operator granted the role.
 */
export type Role = 'admin' | 'user' | 'device'

export type LoginKind = 'password' | 'passkey' | 'token' | 'device' | 'app' | 'external'

/** One login. It lasts as long as its connection or, if it has tokens or a credential, as long as these are valid. */
export interface Login {
  readonly id: string
  readonly kind: LoginKind
  readonly role: Role
  /** Device name or MQTT client id; undefined = the account's default device. */
  readonly device: string | undefined
  /** ms since the epoch. */
  readonly since: number
}

/** What a login allows its connection to do (auth/permissions.ts). */
export interface Permissions {
  readonly areRevoked: boolean
}

/**
 * The one check of permissions for everything that clients send: requests and messages of both front ends, broadcasts,
 * wills and packets for other topics. Call it when the work is accepted, and again in the turn that writes: the work
 * may have waited for the store in between, and the sender's permissions may have been revoked meanwhile.
 * @param permissions undefined: the work has no sender whose permissions could be revoked
 * @throws GatewayError ERROR_UNAUTHORIZED
 */
export function admit(permissions: Permissions | undefined): void {
  if (permissions?.areRevoked) throw new GatewayError('ERROR_UNAUTHORIZED')
}

declare const conversationBrand: unique symbol

/**
 * Names one conversation. Only the functions below build or parse it; all other code compares, stores and passes it on.
 * It is text without spaces and braces, and the same conversation always has the same text.
 */
export type ConversationId = string & { readonly [conversationBrand]: true }

/** The conversation of two users, the same for both directions: lower id, colon, higher id. */
export const pairConversation = (a: UserId, b: UserId): ConversationId =>
  (a < b ? `${a}:${b}` : `${b}:${a}`) as ConversationId

/** Length of what `writeConversationKey` writes. */
export const CONVERSATION_KEY_BYTES = 8

/** Writes a conversation id as key bytes of fixed length: both user ids as unsigned 32-bit integers, big endian. */
export function writeConversationKey(id: ConversationId, target: Buffer, at: number): void {
  const colon = id.indexOf(':')
  target.writeUInt32BE(Number(id.slice(0, colon)) >>> 0, at)
  target.writeUInt32BE(Number(id.slice(colon + 1)) >>> 0, at + 4)
}

/** What is stored about a message besides its text. */
export interface MessageHeader {
  readonly kind: MessageKind
  readonly sender: UserId
  /** undefined: the message belongs to no conversation (a broadcast). */
  readonly conversation: ConversationId | undefined
  /** ms since the epoch: from then on it is sent to no device that it was not sent to before. undefined: it does not expire. */
  readonly expiresAt: number | undefined
}

/** A message that is to be appended to an inbox log. */
export interface NewMessage extends MessageHeader {
  /** The owner of the log. */
  readonly inbox: UserId
  /** UUIDv7 (RFC 9562), the same for all recipients. */
  readonly id: string
  /** The JSON text that is stored (see message.ts). */
  readonly text: string
  /**
   * If set, a second append with the same key to the same inbox within the dedup window stores nothing, provided that
   * it says the same (`saysTheSame` in message.ts). If it says something else, it is a new message and takes over the
   * key: many clients count their ids from 1 on every connection.
   */
  readonly dedupKey: string | undefined
  /** The message cannot be a repeat (MQTT without DUP). Its key is stored for later repeats but not looked up. */
  readonly isFirst: boolean
  /** With the key of a message that says something else, or went to another inbox, it is not stored. Needs `dedupKey`. */
  readonly isKeyExact?: boolean | undefined
  /**
   * The inbox is full, so the message is never stored. If it repeats a stored one, it is answered with that one's seq.
   */
  readonly mustRepeat?: boolean
}

/** One row of an inbox log. */
export interface InboxRow extends MessageHeader {
  /** 1, 2, 3 … within one inbox, without holes. */
  readonly seq: number
  readonly id: string
  readonly text: string
}

/** The position of one device in its owner's inbox. */
export interface Cursor {
  /** Highest seq that the device has confirmed with no unconfirmed seq before it. */
  readonly confirmed: number
  /** Highest seq ever written to the device. A seq up to this one that is written again is a DUP. */
  readonly sent: number
  /** QoS 2, ascending: seqs with a PUBREC and without a PUBCOMP. Redelivery resumes with PUBREL. */
  readonly released: readonly number[]
  /**
   * Ascending: seqs behind `confirmed`, up to `sent`, that are not sent again: confirmed before one that came earlier, or not sent
   * since they had expired. Absent: none.
   */
  readonly settled?: readonly SeqRange[]
}

/** Both inclusive. */
export type SeqRange = readonly [from: number, to: number]

/**
 * Maximum lengths of the texts of a login, in UTF-16 code units. They are checked on arrival, before any other work:
 * NFC of 32 KB of combining marks takes half a second.
 */
export const LENGTHS = {
  /** RFC 5321 4.5.3.1: 64 + @ + 255. */
  email: 320,
  /** Far longer than any pass phrase. The pre-hash makes every length cost the same. */
  password: 1024,
  /** Ours have about 250 characters; those of other issuers may be much longer. */
  token: 8192,
  /** An RSA key of 4096 bits has about 800 in PEM. Query replies carry it for each user. */
  publicKey: 1024,
} as const
