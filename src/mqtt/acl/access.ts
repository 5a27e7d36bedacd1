/**
 * The rights of clients to publish and to subscribe (docs/protocol.md, "Topics and rights"). A topic without a grant is
 * refused.
 */
import type { Role, UserId } from '../../core/model.js'
import { covers, sharedFilter } from '../../core/topic-filter.js'
import { clientIdOf, userIdOf } from './client-id.js'
import { ANY_PRESENCE, isInboxFilter, isOwnTree, isRepliesTopic, parseOwnTopic, SYSTEM } from './topics.js'

/** One rule of `mqtt.acl`, for topics outside `users/`. */
export interface TopicGrant {
  /** A topic filter in which `%u` stands for the user id and `%c` for the client id. */
  readonly pattern: string
  readonly access: 'read' | 'write' | 'readwrite'
  /** The login must have one of these roles; absent: any role. */
  readonly roles?: readonly Role[]
}

/** The properties of a client that a grant may depend on, besides the account. */
export interface Grantee {
  /** As the client sent it. */
  readonly clientId: string
  /** `any`: the client is not connected. Its rights are checked again when it connects. */
  readonly role: Role | 'any'
}

/** `closed`: no topics outside `users/`; `open`: all of them; otherwise only those that a rule grants. */
export type Acl = 'closed' | 'open' | readonly TopicGrant[]

export interface MessageRight {
  readonly kind: 'message'
  readonly sender: UserId
  readonly recipient: UserId
}

type PublishRight =
  | MessageRight
  | { readonly kind: 'request' }
  | { readonly kind: 'topic' }
  | { readonly kind: 'refused' }

const REFUSED: PublishRight = { kind: 'refused' }

/** A client id that may replace `%c`: one level of a topic, without `/`, wildcards and NUL. */
const ONE_LEVEL = /^[^/+#\0]+$/

export class TopicAccess {
  /** @param presence who may read the presence of other users */
  constructor(
    private acl: Acl,
    private readonly presence: 'everyone' | 'users' | 'self' = 'everyone',
  ) {}

  /** From now on these rules count. Filters that were granted stay; what they get is asked for each packet (`read`). */
  replace(acl: Acl): void {
    this.acl = acl
  }

  /**
   * The right that a PUBLISH to this topic needs, or its refusal.
   * @param userId undefined for an anonymous client, which may send no messages and no requests
   */
  publish(userId: UserId | undefined, topic: string, grantee?: Grantee): PublishRight {
    if (!isOwnTree(topic)) return this.#granted('write', userId, topic, grantee) ? { kind: 'topic' } : REFUSED
    const own = parseOwnTopic(topic)
    if (userId === undefined) return REFUSED
    if (own.kind === 'inbox') return { kind: 'message', sender: userId, recipient: own.userId }
    return own.kind === 'requests' && own.userId === userId ? { kind: 'request' } : REFUSED
  }

  /** Whether a SUBSCRIBE to this filter is granted. */
  subscribe(userId: UserId | undefined, filter: string, grantee?: Grantee): boolean {
    const shared = sharedFilter(filter)
    if (shared !== undefined) return !isOwnTree(shared) && this.#granted('read', userId, shared, grantee)
    // Besides `$SYS/…`: a `$share/…` that is not as MQTT 5 has it.
    if (filter.startsWith('$')) return readsSystem(filter, grantee)
    if (!isOwnTree(filter)) return this.#granted('read', userId, filter, grantee)
    if (userId === undefined) return false
    if (isInboxFilter(filter, userId) || isRepliesTopic(filter, userId)) return true
    return filter === ANY_PRESENCE ? this.presence !== 'self' : this.#readsPresence(userId, filter)
  }

  /**
   * Whether a routed packet on this topic may reach the client. Must be checked for every packet: a filter such as `#`
   * may be granted and also match topics under `users/`. Of those topics only presence is routed; inbox messages and
   * replies are sent to their reader directly.
   */
  read(userId: UserId | undefined, topic: string, grantee?: Grantee): boolean {
    if (topic.startsWith('$')) return readsSystem(topic, grantee)
    if (!isOwnTree(topic)) return this.#granted('read', userId, topic, grantee)
    return userId !== undefined && this.#readsPresence(userId, topic)
  }

  /** The same for a session, which may be away: its rights are checked again when it is connected. @param id scoped */
  readAway(id: string, topic: string): boolean {
    return this.read(userIdOf(id), topic, { clientId: clientIdOf(id), role: 'any' })
  }

  #readsPresence(userId: UserId, topic: string): boolean {
    const own = parseOwnTopic(topic)
    return own.kind === 'presence' && (this.presence !== 'self' || own.userId === userId)
  }

  #granted(
    access: 'read' | 'write',
    userId: UserId | undefined,
    filter: string,
    grantee: Grantee | undefined,
  ): boolean {
    if (filter.startsWith('$')) return false
    if (this.acl === 'open') return true
    if (this.acl === 'closed') return false
    return this.acl.some(grant => {
      if (grant.access !== access && grant.access !== 'readwrite') return false
      if (grant.roles !== undefined && !hasRole(grant.roles, grantee)) return false
      const pattern = fill(grant.pattern, userId, grantee)
      return pattern !== undefined && covers(pattern, filter)
    })
  }
}

const readsSystem = (filter: string, grantee: Grantee | undefined): boolean =>
  filter.startsWith(SYSTEM) && grantee?.role === 'admin'

const hasRole = (roles: readonly Role[], grantee: Grantee | undefined): boolean =>
  grantee !== undefined && (grantee.role === 'any' || roles.includes(grantee.role))

/** Replaces `%u` and `%c` in a pattern. @returns undefined if it cannot; the pattern then grants this client nothing */
function fill(pattern: string, userId: UserId | undefined, grantee: Grantee | undefined): string | undefined {
  const isOpen = !pattern.includes('%u') && !pattern.includes('%c')
  if (isOpen) return pattern
  const clientId = grantee?.clientId ?? ''
  if (userId === undefined || (pattern.includes('%c') && !ONE_LEVEL.test(clientId))) return undefined
  return pattern.replace(/%[uc]/g, placeholder => (placeholder === '%u' ? userId : clientId))
}
