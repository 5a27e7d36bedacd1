/** Types that every layer shares, the text forms of ids, and the check of permissions for everything that clients send. */
import { GatewayError } from './errors.js'

/** Nine decimal digits, first digit not 0 (docs/protocol.md). */
export type UserId = string

/** Regular expression source of a user id, without anchors, for expressions and schemas in which an id is one part. */
export const USER_ID = '[1-9][0-9]{8}'

const WHOLE_USER_ID = new RegExp(`^${USER_ID}$`)

export const isUserId = (id: string): boolean => WHOLE_USER_ID.test(id)

/** When a message was made, ms since the epoch: the first 48 bits of its id, a UUIDv7 (RFC 9562, 5.7). */
export const madeAt = (messageId: string): number =>
  Number.parseInt(messageId.slice(0, 8) + messageId.slice(9, 13), 16)

/** What anyone above the store may know of a user: never a password, never a hash. */
export interface User {
  readonly id: UserId
  /** Just as it was registered; uniqueness is judged on `emailKey`. */
  readonly email: string
  /** Normalised email: NFC, lower case, ASCII domain. */
  readonly emailKey: string
  /** '' when none is set; unique otherwise. */
  readonly username: string
  readonly firstName: string
  readonly lastName: string
  readonly profileImage: string
  readonly key: string
  /** ms since the epoch. */
  readonly createdAt: number
}

/** `device`: logged in by the credential of one MQTT client id; `admin`: an account that the config names. */
export type Role = 'admin' | 'user' | 'device'

export type LoginKind = 'password' | 'token' | 'device' | 'external'

/** One login: of one connection, or for as long as its tokens or its credential are good. */
export interface Login {
  readonly id: string
  readonly kind: LoginKind
  readonly role: Role
  /** Name or MQTT client id; undefined: the account's default device. */
  readonly device: string | undefined
  /** ms since the epoch. */
  readonly since: number
}

/** What the login of a sender allows, for as long as it does (auth/permissions.ts). */
export interface Permissions {
  readonly areRevoked: boolean
}

/**
 * The one door for what clients send: requests and messages of both front ends, broadcasts, wills, packets for other
 * topics. Whoever takes something up asks here, and whoever writes it asks again in the turn of the write: in between it
 * may have waited for the store, and its sender's permissions may have been taken away.
 * @param permissions undefined: of nobody, who has none that could be taken away
 * @throws GatewayError ERROR_UNAUTHORIZED
 */
export function admit(permissions: Permissions | undefined): void {
  if (permissions?.areRevoked) throw new GatewayError('ERROR_UNAUTHORIZED')
}

/** `message`: from one user into a conversation; `broadcast`: from one user to everybody who is online. */
export type MessageKind = 'message' | 'broadcast'

declare const conversationBrand: unique symbol

/**
 * Names one conversation. Only the functions below make one or take one apart; everybody else compares, stores and
 * passes it on. It is text without spaces and braces, and the same text for the same conversation.
 */
export type ConversationId = string & { readonly [conversationBrand]: true }

/** The conversation of two users, whoever of them writes: lower id, colon, higher id. */
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

/** What a stored message says of itself besides its text. */
export interface MessageHeader {
  readonly kind: MessageKind
  readonly sender: UserId
  /** undefined: part of no conversation (a broadcast). */
  readonly conversation: ConversationId | undefined
}

/** A message on its way into a log. */
export interface NewMessage extends MessageHeader {
  /** Whose log it is appended to. */
  readonly inbox: UserId
  /** UUIDv7 (RFC 9562), the same for all who see the message. */
  readonly id: string
  /** The JSON text that is stored (message.ts). */
  readonly text: string
  /**
   * If set, a second append with the same key to the same inbox within the dedup window stores nothing when it says the
   * same (`saysTheSame` in message.ts). When it says something else it is another message, which has the key from then
   * on: many clients count their ids from 1 on every connection.
   */
  readonly dedupKey: string | undefined
  /** The message cannot be a repeat (MQTT without DUP): its key is stored for later repeats and not looked up. */
  readonly isFirst: boolean
  /** The inbox is full: the message is never stored. A repeat is answered with the first message's seq. */
  readonly mustRepeat?: boolean
}

/** One row of an inbox log. */
export interface InboxRow extends MessageHeader {
  /** 1, 2, 3 … within one inbox, without holes. */
  readonly seq: number
  readonly id: string
  readonly text: string
}

/** One device's place in its owner's inbox. */
export interface Cursor {
  /** Highest seq that the device has confirmed with nothing unconfirmed before it. */
  readonly confirmed: number
  /** Highest seq ever written to the device: what is at or below it and comes again is a DUP. */
  readonly sent: number
  /** QoS 2: seqs whose PUBREC came and whose PUBCOMP did not, rising. Redelivery resumes at PUBREL. */
  readonly released: readonly number[]
}

/**
 * Longest texts of a login, in UTF-16 code units. Checked at each way in before anything else is done with them: NFC of
 * 32 KB of combining marks takes half a second.
 */
export const LENGTHS = {
  /** RFC 5321 4.5.3.1: 64 + @ + 255. */
  email: 320,
  /** Far beyond any pass phrase; the pre-hash makes every length cost the same. */
  password: 1024,
  /** Tokens of other issuers may carry much; ours have about 250 characters. */
  token: 8192,
} as const
