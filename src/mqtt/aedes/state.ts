/** The stored state as Aedes sees it. Adds presence, which is not stored, and sessions without filters. */
import { Readable } from 'node:stream'
import type { AedesPublishPacket } from 'aedes'
import type { LiveConnections } from '../../live/live.js'
import type { KeyValue } from '../../store/store.js'
import { ANY_PRESENCE, parseOwnTopic, presenceTopic } from '../acl/topics.js'
import type { AedesClient } from './client.js'
import type { BrokerPacket } from './persistence/kv.js'
import type { PersistenceOptions } from './persistence/options.js'
import { BrokerPersistence } from './persistence/persistence.js'
import { OverRetainedLimit } from './persistence/retained.js'

/**
 * A subscription for sessions that have none. Aedes sets session present [MQTT-3.2.2-2] only if it finds subscriptions.
 * `$session` is never granted, so this one has no other effect.
 */
const SESSION_PLACEHOLDER = { topic: '$session', qos: 0 as const }

export class BrokerState extends BrokerPersistence {
  /** Client ids whose CONNECT resumed a session, until Aedes reads its subscriptions. */
  readonly #resumed = new Set<string>()

  constructor(
    kv: KeyValue,
    private readonly live: LiveConnections,
    private readonly settings: PersistenceOptions,
  ) {
    super(kv, settings)
  }

  /**
   * Resumes or begins the session of a client whose login succeeded.
   * @returns true if it was resumed
   * @throws GatewayError
   */
  async resume(client: AedesClient): Promise<boolean> {
    const { id, clean } = client
    const isResumed = await this.sessions.touch(id, clean)
    if (!isResumed) return false
    this.#resumed.add(id)
    // They count against `mqtt.maxUnreleased` of the new connection.
    for (const messageId of this.incomingIds(client)) client._inboundInflight.add(messageId)
    return true
  }

  override async subscriptionsByClient(client: { id: string }) {
    const subscriptions = await super.subscriptionsByClient(client)
    return this.#resumed.delete(client.id) && subscriptions.length === 0
      ? [SESSION_PLACEHOLDER]
      : subscriptions
  }

  /** PUBREL. Aedes sends PUBCOMP when this settles, so that the packet id is removed before. */
  override async incomingDelPacket(client: AedesClient, packet: BrokerPacket): Promise<void> {
    return super
      .incomingDelPacket(client, packet)
      .catch((thrown: unknown) => this.#withoutAnswer(client, thrown))
  }

  /**
   * Aedes sends PUBCOMP also after a rejection; the client's next message with that packet id would then be taken for a
   * resend. So the connection closes and the promise never settles: the client sends PUBREL again [MQTT-4.4.0-1].
   */
  #withoutAnswer(client: AedesClient, thrown: unknown): Promise<never> {
    this.settings.onError?.(thrown)
    client.close()
    return new Promise(() => undefined)
  }

  /** Over the limits the message is not retained, but is delivered. */
  override async storeRetained(packet: BrokerPacket, check?: () => void): Promise<void> {
    return super.storeRetained(packet, check).catch((thrown: unknown) => {
      if (!(thrown instanceof OverRetainedLimit)) throw thrown
      this.settings.onNotRetained?.(thrown.limit)
    })
  }

  /** To its readers presence is a retained message. It is not stored, so that it cannot be wrong after a crash. */
  override createRetainedStreamCombi(filters: string[]): Readable {
    const isPresence = (filter: string) =>
      filter === ANY_PRESENCE || parseOwnTopic(filter).kind === 'presence'
    const others = super.createRetainedStreamCombi(filters.filter(filter => !isPresence(filter)))
    return Readable.from(this.#withPresence(filters.filter(isPresence), others))
  }

  async *#withPresence(filters: string[], others: AsyncIterable<unknown>) {
    for (const filter of filters) {
      const own = parseOwnTopic(filter)
      // With a wildcard: users who are online. An unknown user is offline, so that nobody learns which ids exist.
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
