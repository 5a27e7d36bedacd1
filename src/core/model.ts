/** Types that every layer shares, what the text forms of ids and messages say, and the one door for what is sent. */
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

/** A message on its way into a log. */
export interface NewMessage {
  /** Whose log it is appended to. */
  readonly inbox: UserId
  /** UUIDv7 (RFC 9562), the same for all who see the message. */
  readonly id: string
  readonly sender: UserId
  /** ms since the epoch. */
  readonly createdAt: number
  /**
   * The four (a broadcast: three) fixed members as JSON:
   * `{"sender":"…","recipient":"…","content":"…","created_at":"…"}`. Encoded once, at send: this text is stored, is
   * the frame of an old client, and with `id` and `seq` put in is every other form.
   */
  readonly text: string
  /** The other party, when this is a message of a conversation (not a broadcast). */
  readonly recipient: UserId | undefined
  /**
   * Where set: a second append with the same key to the same inbox within the dedup window, whose text is the same
   * but for `created_at`, stores nothing (see Store.append). With another text it is another message, and the key's
   * from then on: many clients count their ids from 1 on every connection.
   */
  readonly dedupKey: string | undefined
  /** Certainly no repeat (MQTT without DUP): the key is remembered for those that may follow, and not looked for. */
  readonly isFirst: boolean
  /** There is no room for it: it is stored in no case, and answered only where it is a repeat. */
  readonly mustRepeat?: boolean
}

/** Length of `,"created_at":"2019-07-15T09:28:10Z"}`, the end of every `text`. */
const CREATED_AT_LENGTH = 37

/** Whether two messages say the same: their text but for the time. */
export const saysTheSame = (a: { readonly text: string }, b: { readonly text: string }): boolean =>
  a.text.slice(0, -CREATED_AT_LENGTH) === b.text.slice(0, -CREATED_AT_LENGTH)

/** One row of an inbox log. */
export interface InboxRow {
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
