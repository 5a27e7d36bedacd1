/** The stored state as the command files see it. Adds presence, which is not stored. */
import type { LiveConnections } from '../../live/live.js'
import type { KeyValue } from '../../store/store.js'
import { ANY_PRESENCE, parseOwnTopic, presenceTopic } from '../acl/topics.js'
import { makePacket } from './packet.js'
import type { BrokerPacket } from './persistence/kv.js'
import type { PersistenceOptions } from './persistence/options.js'
import { BrokerPersistence } from './persistence/persistence.js'
import { OverRetainedLimit } from './persistence/retained.js'

interface StateOptions extends PersistenceOptions {
  /** Whether the client is connected: its session does not expire. */
  readonly isConnected: (clientId: string) => boolean
}

export class BrokerState extends BrokerPersistence {
  constructor(
    kv: KeyValue,
    private readonly live: LiveConnections,
    private readonly settings: StateOptions,
  ) {
    super(kv, settings)
  }

  /** Removes expired sessions. @returns how many */
  override async expire(now: number): Promise<number> {
    return this.sessions.expire(now, this.settings.isConnected)
  }

  /** Over the limits the message is not retained, but is delivered. */
  override async storeRetained(packet: BrokerPacket, check?: () => void): Promise<void> {
    return super.storeRetained(packet, check).catch((thrown: unknown) => {
      if (!(thrown instanceof OverRetainedLimit)) throw thrown
      this.settings.onNotRetained?.(thrown.limit)
    })
  }

  /** To its readers presence is a retained message. It is not stored, so that it cannot be wrong after a crash. */
  override async *retainedOf(filters: readonly string[]): AsyncGenerator<BrokerPacket> {
    const isPresence = (filter: string) =>
      filter === ANY_PRESENCE || parseOwnTopic(filter).kind === 'presence'
    for (const filter of filters.filter(isPresence)) {
      const own = parseOwnTopic(filter)
      // With a wildcard: users who are online. An unknown user is offline, so that nobody learns which ids exist.
      const users = own.kind === 'unknown' ? [...this.live.online()] : [own.userId]
      for (const userId of users) {
        yield makePacket(presenceTopic(userId), this.live.isOnline(userId) ? 'online' : 'offline', 0)
      }
    }
    yield* super.retainedOf(filters.filter(filter => !isPresence(filter)))
  }
}
