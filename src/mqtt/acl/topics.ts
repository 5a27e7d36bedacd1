/** The gateway's own topics, `users/<id>/…`. They are built and parsed only here. */
import { USER_ID, type UserId } from '../../core/model.js'

type OwnTopic =
  | { readonly kind: 'inbox' | 'requests' | 'replies' | 'presence'; readonly userId: UserId }
  | { readonly kind: 'unknown' }

const KINDS = new Set(['inbox', 'requests', 'replies', 'presence'])
const OWN = new RegExp(`^users/(${USER_ID})/([a-z]+)$`)

/** Whether the topic or filter lies under `users/`. Those belong to the gateway, and no ACL rule grants them. */
export const isOwnTree = (topic: string): boolean => topic === 'users' || topic.startsWith('users/')

export function parseOwnTopic(topic: string): OwnTopic {
  const [, userId, kind] = OWN.exec(topic) ?? []
  if (userId === undefined || kind === undefined || !KINDS.has(kind)) return { kind: 'unknown' }
  return { kind: kind as 'inbox', userId }
}

const INBOX_START = Buffer.from('users/')
const INBOX_END = Buffer.from('/inbox')
const USER_ID_BYTES = 9
const ZERO = 0x30
const NINE = 0x39
export const INBOX_TOPIC_BYTES = INBOX_START.length + USER_ID_BYTES + INBOX_END.length

/**
 * Whether a packet's topic is `users/<id>/inbox`. Compares bytes and makes no string.
 * @param at offset of the topic's two-byte length
 */
export function isInboxTopic(bytes: Buffer, at: number): boolean {
  if (bytes.readUInt16BE(at) !== INBOX_TOPIC_BYTES) return false
  const idAt = at + 2 + INBOX_START.length
  return (
    isAt(bytes, at + 2, INBOX_START) &&
    isUserIdAt(bytes, idAt) &&
    isAt(bytes, idAt + USER_ID_BYTES, INBOX_END)
  )
}

function isAt(bytes: Buffer, at: number, text: Buffer): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text[i]) return false
  return true
}

function isUserIdAt(bytes: Buffer, at: number): boolean {
  if (bytes[at] === ZERO) return false
  for (let i = at; i < at + USER_ID_BYTES; i++) {
    const byte = bytes[i] ?? 0
    if (byte < ZERO || byte > NINE) return false
  }
  return true
}

export const repliesTopic = (userId: UserId): string => `users/${userId}/replies`
/** A topic for replies of its own, as MQTT 5 clients name one with a request; or a filter of such. */
export const isRepliesTopic = (topic: string, userId: UserId): boolean =>
  topic === repliesTopic(userId) || topic.startsWith(`${repliesTopic(userId)}/`)
export const presenceTopic = (userId: UserId): string => `users/${userId}/presence`
export const inboxTopic = (userId: UserId, seq: number): string => `users/${userId}/inbox/${seq}`

/** The two filters that subscribe a user to the own inbox. */
export const inboxFilters = (userId: UserId): readonly string[] => [
  `users/${userId}/inbox/#`,
  `users/${userId}/inbox/+`,
]

export const isInboxFilter = (filter: string, userId: UserId): boolean =>
  inboxFilters(userId).includes(filter)

export const ANY_PRESENCE = 'users/+/presence'
