/**
 * Who may publish and subscribe where (docs/protocol.md, "Topics and rights"). Pure rules: no Aedes, no store.
 * What is not granted here is refused.
 */
import type { UserId } from '../model.js'
import { ANY_PRESENCE, covers, isInboxFilter, isOwnTree, parseOwnTopic, repliesTopic } from './topics.js'

export interface TopicGrant {
  /** A filter; `%u` stands for the user id. */
  readonly pattern: string
  readonly access: 'read' | 'write' | 'readwrite'
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

export class Access {
  constructor(private readonly acl: Acl) {}

  /** @param userId undefined for an anonymous client, which has no inbox and no requests */
  publish(userId: UserId | undefined, topic: string): PublishRight {
    if (!isOwnTree(topic)) return this.#granted(userId, topic, 'write') ? { kind: 'topic' } : REFUSED
    const own = parseOwnTopic(topic)
    if (userId === undefined) return REFUSED
    if (own.kind === 'inbox') return { kind: 'message', sender: userId, recipient: own.userId }
    return own.kind === 'requests' && own.userId === userId ? { kind: 'request' } : REFUSED
  }

  subscribe(userId: UserId | undefined, filter: string): boolean {
    // $SYS and the like, and $share, which this MQTT version does not have.
    if (filter.startsWith('$')) return false
    if (!isOwnTree(filter)) return this.#granted(userId, filter, 'read')
    if (userId === undefined) return false
    if (isInboxFilter(filter, userId) || filter === repliesTopic(userId) || filter === ANY_PRESENCE)
      return true
    return parseOwnTopic(filter).kind === 'presence'
  }

  /** Whether a routed packet may reach this client: an open `#` reaches into the gateway's tree, its packets do not. */
  read(userId: UserId | undefined, topic: string): boolean {
    if (topic.startsWith('$')) return false
    if (!isOwnTree(topic)) return this.#granted(userId, topic, 'read')
    return (
      userId !== undefined && (topic === repliesTopic(userId) || parseOwnTopic(topic).kind === 'presence')
    )
  }

  #granted(userId: UserId | undefined, filter: string, access: 'read' | 'write'): boolean {
    if (filter.startsWith('$')) return false
    if (this.acl === 'open') return true
    if (this.acl === 'closed') return false
    return this.acl.some(grant => {
      if (grant.access !== access && grant.access !== 'readwrite') return false
      if (userId === undefined && grant.pattern.includes('%u')) return false
      return covers(grant.pattern.replaceAll('%u', userId ?? ''), filter)
    })
  }
}
