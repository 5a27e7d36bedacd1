/** The gateway's own topics, `users/<id>/…`. They are built and parsed only here. */
import { USER_ID, type UserId } from '../../core/model.js'
import { sharedFilter } from '../../core/topic-filter.js'

type OwnTopic =
  | { readonly kind: 'inbox' | 'requests' | 'replies' | 'presence'; readonly userId: UserId }
  | { readonly kind: 'unknown' }

const KINDS = new Set(['inbox', 'requests', 'replies', 'presence'])
const OWN = new RegExp(`^users/(${USER_ID})/([a-z]+)$`)

/** Whether the topic or filter lies under `users/`. Those belong to the gateway, and no ACL rule grants them. */
export const isOwnTree = (topic: string): boolean => topic === 'users' || topic.startsWith('users/')

export const isShared = (filter: string): boolean => sharedFilter(filter) !== undefined

/** Whether a filter is shared and lies under `users/`: an inbox is shared by nobody. */
export const sharesOwnTree = (filter: string): boolean => isOwnTree(sharedFilter(filter) ?? '')

export function parseOwnTopic(topic: string): OwnTopic {
  if (isInbox(topic)) return { kind: 'inbox', userId: topic.slice(ID_AT, ID_AT + ID_LENGTH) }
  const [, userId, kind] = OWN.exec(topic) ?? []
  if (userId === undefined || kind === undefined || !KINDS.has(kind)) return { kind: 'unknown' }
  return { kind: kind as 'requests', userId }
}

const ID_AT = 'users/'.length
const ID_LENGTH = 9
const INBOX_LENGTH = ID_AT + ID_LENGTH + '/inbox'.length
const ZERO = 0x30
const NINE = 0x39

/** The topic of almost every PUBLISH: compared without a regular expression. */
function isInbox(topic: string): boolean {
  if (topic.length !== INBOX_LENGTH) return false
  if (!topic.startsWith('users/') || !topic.endsWith('/inbox') || topic.charCodeAt(ID_AT) === ZERO)
    return false
  for (let i = ID_AT; i < ID_AT + ID_LENGTH; i++) {
    const code = topic.charCodeAt(i)
    if (code < ZERO || code > NINE) return false
  }
  return true
}

export const repliesTopic = (userId: UserId): string => `users/${userId}/replies`
/** Those that subscribe to the reply topic itself: `#` includes the level above (MQTT 5, 4.7.1.2). */
export const repliesFilters = (userId: UserId): readonly string[] => [
  repliesTopic(userId),
  `${repliesTopic(userId)}/#`,
]
/** A topic for replies of its own, as MQTT 5 clients name one with a request; or a filter of such. */
export const isRepliesTopic = (topic: string, userId: UserId): boolean =>
  topic === repliesTopic(userId) || topic.startsWith(`${repliesTopic(userId)}/`)
export const presenceTopic = (userId: UserId): string => `users/${userId}/presence`
export const inboxTopic = (userId: UserId, seq: number, form: InboxForm): string =>
  form === 'json' ? `users/${userId}/inbox/${seq}` : `users/${userId}/inbox/${seq}/content`

/** What of a message is the payload: JSON with all its members, or its content alone. */
export type InboxForm = 'json' | 'content'

const FORMS: readonly InboxForm[] = ['json', 'content']

/** The filters that subscribe a user to the own inbox. */
export const inboxFilters = (userId: UserId, form: InboxForm): readonly string[] =>
  form === 'json'
    ? [`users/${userId}/inbox/#`, `users/${userId}/inbox/+`]
    : [`users/${userId}/inbox/+/content`]

/** Whether all that the filter matches is in one inbox, which is delivered by a reader of its own and routed to nobody. */
export const isBelowInbox = (filter: string): boolean =>
  filter[INBOX_LENGTH] === '/' && isInbox(filter.slice(0, INBOX_LENGTH))

export const isInboxFilter = (filter: string, userId: UserId): boolean =>
  FORMS.some(form => inboxFilters(userId, form).includes(filter))

/** Topics below it are for admins (system-topics.ts). */
export const SYSTEM = '$SYS/'

export const ANY_PRESENCE = 'users/+/presence'
