/** The broker's kept state, and what Aedes is told of it that nobody keeps: presence, and empty sessions. */
import { Readable } from 'node:stream'
import type { AedesPublishPacket } from 'aedes'
import type { LiveConnections } from '../../live/live.js'
import type { Store } from '../../store/store.js'
import { ANY_PRESENCE, parseOwnTopic, presenceTopic } from '../acl/topics.js'
import type { AedesClient } from './client.js'
import type { BrokerPacket } from './persistence/kv.js'
import type { PersistenceOptions } from './persistence/options.js'
import { BrokerPersistence } from './persistence/persistence.js'
import { OverRetainedLimit } from './persistence/retained.js'

/** Makes a CONNACK say session present [MQTT-3.2.2-2] where the session has no subscription; never granted. */
const SESSION_MARK = { topic: '$session', qos: 0 as const }

export class BrokerState extends BrokerPersistence {
  readonly #resumed = new Set<string>()

  constructor(
    store: Store,
    private readonly live: LiveConnections,
    private readonly settings: PersistenceOptions,
  ) {
    super(store, settings)
  }

  /** Finds or begins the session of a client that has just proved who it is. @returns whether it was found */
  async resume(client: AedesClient): Promise<boolean> {
    const { id, clean } = client
    const isResumed = await this.touchSession(id, clean)
    if (!isResumed) return false
    this.#resumed.add(id)
    // They count for the new connection, too.
    for (const messageId of this.incomingIds(client)) client._inboundInflight.add(messageId)
    return true
  }

  override async subscriptionsByClient(client: { id: string }) {
    const subscriptions = await super.subscriptionsByClient(client)
    return this.#resumed.delete(client.id) && subscriptions.length === 0 ? [SESSION_MARK] : subscriptions
  }

  /** PUBREL: PUBCOMP goes out when the packet id is gone. */
  override async incomingDelPacket(client: AedesClient, packet: BrokerPacket): Promise<void> {
    return super
      .incomingDelPacket(client, packet)
      .catch((thrown: unknown) => this.#withoutAnswer(client, thrown))
  }

  /**
   * Aedes sends PUBCOMP also after a rejection, and the next message with that packet id would be taken for a resend.
   * Not answered, the client sends PUBREL again on its next connection [MQTT-4.4.0-1].
   */
  #withoutAnswer(client: AedesClient, thrown: unknown): Promise<never> {
    this.settings.onError?.(thrown)
    client.close()
    return new Promise(() => undefined)
  }

  /** Over the limits it is not kept, and is otherwise a message like any other. */
  override async storeRetained(packet: BrokerPacket, check?: () => void): Promise<void> {
    return super.storeRetained(packet, check).catch((thrown: unknown) => {
      if (!(thrown instanceof OverRetainedLimit)) throw thrown
      this.settings.onNotRetained?.(thrown.limit)
    })
  }

  /** Presence is a retained message to its reader; kept by nobody, it cannot be out of date after a crash. */
  override createRetainedStreamCombi(filters: string[]): Readable {
    const isPresence = (filter: string) =>
      filter === ANY_PRESENCE || parseOwnTopic(filter).kind === 'presence'
    const others = super.createRetainedStreamCombi(filters.filter(filter => !isPresence(filter)))
    return Readable.from(this.#withPresence(filters.filter(isPresence), others))
  }

  async *#withPresence(filters: string[], others: AsyncIterable<unknown>) {
    for (const filter of filters) {
      const own = parseOwnTopic(filter)
      // With a wildcard those who are online; an account that does not exist is as offline as any other.
      const users = own.kind === 'unknown' ? [...this.live.online()] : [own.userId]
      for (const userId of users) {
        yield makePacket(presenceTopic(userId), this.live.isOnline(userId) ? 'online' : 'offline', 0)
      }
    }
    yield* others
  }
}

export const makePacket = (topic: string, payload: string, qos: 0 | 1) =>
  ({
    cmd: 'publish',
    topic,
    payload: Buffer.from(payload),
    qos,
    retain: false,
    dup: false,
  }) as AedesPublishPacket
