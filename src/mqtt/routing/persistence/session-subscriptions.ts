/** SUBSCRIBE and UNSUBSCRIBE of persistent sessions: what is allowed is stored, and restored at CONNECT. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { KeyedSerial } from '../../../flow/serial.js'
import type { ClientRef, KvStore } from './kv.js'
import type { Sessions } from './sessions.js'
import type { Subscription, Subscriptions } from './subscriptions.js'

/** The SUBSCRIBE being stored: Aedes passes all its subscriptions once for each that was granted. */
interface Storing {
  readonly clientId: string
  readonly done: Promise<void>
}

export class SessionSubscriptions {
  /** By client id. */
  readonly #order = new KeyedSerial()
  readonly #storing = new WeakMap<readonly Subscription[], Storing>()

  constructor(
    private readonly kv: KvStore,
    private readonly parts: { readonly sessions: Sessions; readonly subscriptions: Subscriptions },
    private readonly isAllowed: (clientId: string, filter: string) => boolean,
  ) {}

  /** Takes a whole SUBSCRIBE as Aedes passes it, refused filters included, and stores what is allowed. */
  async add({ id }: ClientRef, subscriptions: readonly Subscription[]): Promise<void> {
    const storing = this.#storing.get(subscriptions)
    if (storing?.clientId === id) return storing.done
    const done = this.#inOrder(id, () => this.#store(id, subscriptions))
    this.#storing.set(subscriptions, { clientId: id, done })
    try {
      await done
    } finally {
      this.#storing.delete(subscriptions)
    }
  }

  async #store(clientId: string, subscriptions: readonly Subscription[]): Promise<void> {
    // Aedes calls this when the first filter is granted, and asks about the rest of them later in the same turn.
    await undefined
    const allowed = subscriptions.filter(({ topic }) => this.isAllowed(clientId, topic))
    const writes = this.parts.subscriptions.add(clientId, allowed)
    const session = this.parts.sessions.ensure(clientId, Date.now())
    if (writes.length > 0) await this.kv.kvWrite([...session, ...writes])
  }

  remove({ id }: ClientRef, filters: readonly string[]): Promise<void> {
    return this.#inOrder(id, async () => {
      const writes = this.parts.subscriptions.remove(id, filters)
      if (writes.length > 0) await this.kv.kvWrite(writes)
    })
  }

  /**
   * One client's SUBSCRIBEs and UNSUBSCRIBEs one behind the other: Aedes begins with the next one of a read while this one
   * is stored. The next one waits a turn longer, in which Aedes acts upon this one and acknowledges it.
   */
  #inOrder(clientId: string, work: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      void this.#order.run(clientId, async () => {
        await work().then(resolve, reject)
        await nextTurn()
      })
    })
  }

  /** @returns those of the session that are allowed still; the others are removed */
  async restore(client: ClientRef): Promise<Subscription[]> {
    const filters = this.parts.subscriptions.of(client.id).map(({ topic }) => topic)
    await this.remove(
      client,
      filters.filter(filter => !this.isAllowed(client.id, filter)),
    )
    return this.parts.subscriptions.of(client.id)
  }
}
