/**
 * Who may publish and subscribe where (docs/protocol.md, "Topics and rights"). Pure rules: no Aedes, no store.
 * What is not granted here is refused.
 */
import type { Role, UserId } from '../../core/model.js'
import { covers } from '../../core/topic-filter.js'
import { ANY_PRESENCE, isInboxFilter, isOwnTree, parseOwnTopic, repliesTopic } from './topics.js'

export interface TopicGrant {
  /** A filter; `%u` stands for the user id, `%c` for the client id. */
  readonly pattern: string
  readonly access: 'read' | 'write' | 'readwrite'
  /** Whose login it must be; absent = anybody's. */
  readonly roles?: readonly Role[]
}

/** What a grant may ask of a client besides its account. */
export interface Grantee {
  readonly clientId: string
  /** `any`: it is away, and what it is owed is looked at again when it is back. */
  readonly role: Role | 'any'
}

/** `closed`: nothing beyond the gateway's own topics; `open`: every other topic; else what is listed. */
export type Acl = 'closed' | 'open' | readonly TopicGrant[]

export interface MessageRight {
  readonly kind: 'message'
  readonly sender: UserId
  readonly recipient: UserId
}

export type PublishRight =
  | MessageRight
  | { readonly kind: 'request' }
  | { readonly kind: 'topic' }
  | { readonly kind: 'refused' }

const REFUSED: PublishRight = { kind: 'refused' }

/** A client id that would be more than one level of a topic, or a wildcard, stands for nothing [MQTT-4.7.1]. */
const ONE_LEVEL = /^[^/+#\0]+$/

export class Access {
  /** @param presence who may read the presence of others */
  constructor(
    private readonly acl: Acl,
    private readonly presence: 'everyone' | 'users' | 'self' = 'everyone',
  ) {}

  /** @param userId undefined for an anonymous client, which has no inbox and no requests */
  publish(userId: UserId | undefined, topic: string, grantee?: Grantee): PublishRight {
    if (!isOwnTree(topic)) return this.#granted('write', userId, topic, grantee) ? { kind: 'topic' } : REFUSED
    const own = parseOwnTopic(topic)
    if (userId === undefined) return REFUSED
    if (own.kind === 'inbox') return { kind: 'message', sender: userId, recipient: own.userId }
    return own.kind === 'requests' && own.userId === userId ? { kind: 'request' } : REFUSED
  }

  subscribe(userId: UserId | undefined, filter: string, grantee?: Grantee): boolean {
    // $SYS and the like, and $share, which this MQTT version does not have.
    if (filter.startsWith('$')) return false
    if (!isOwnTree(filter)) return this.#granted('read', userId, filter, grantee)
    if (userId === undefined) return false
    if (isInboxFilter(filter, userId) || filter === repliesTopic(userId)) return true
    return filter === ANY_PRESENCE ? this.presence !== 'self' : this.#readsPresence(userId, filter)
  }

  /**
   * Whether a routed packet may reach this client: an open `#` reaches into the gateway's tree, its packets do not. Nor
   * is anything but presence routed there: messages and replies go to their reader past the broker.
   */
  read(userId: UserId | undefined, topic: string, grantee?: Grantee): boolean {
    if (topic.startsWith('$')) return false
    if (!isOwnTree(topic)) return this.#granted('read', userId, topic, grantee)
    return userId !== undefined && this.#readsPresence(userId, topic)
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

const hasRole = (roles: readonly Role[], grantee: Grantee | undefined): boolean =>
  grantee !== undefined && (grantee.role === 'any' || roles.includes(grantee.role))

/** The pattern for one client; undefined where it grants this one nothing. An anonymous one could be anybody. */
function fill(pattern: string, userId: UserId | undefined, grantee: Grantee | undefined): string | undefined {
  const isOpen = !pattern.includes('%u') && !pattern.includes('%c')
  if (isOpen) return pattern
  const clientId = grantee?.clientId ?? ''
  if (userId === undefined || (pattern.includes('%c') && !ONE_LEVEL.test(clientId))) return undefined
  return pattern.replace(/%[uc]/g, mark => (mark === '%u' ? userId : clientId))
}
