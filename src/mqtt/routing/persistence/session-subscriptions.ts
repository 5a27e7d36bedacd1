/**
 * SUBSCRIBE and UNSUBSCRIBE of persistent sessions: what was granted is stored, and restored at CONNECT. Who may have which
 * filter is asked by mqtt/subscribe.ts alone.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { KeyedSerial } from '../../../flow/serial.js'
import type { ClientRef, KvStore } from './kv.js'
import type { Sessions } from './sessions.js'
import type { Subscription, Subscriptions } from './subscriptions.js'

/** The SUBSCRIBE being stored: the contract of aedes-persistence lets it be passed once for each of its filters. */
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
  ) {}

  /** Stores the filters of a SUBSCRIBE. */
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
    const writes = this.parts.subscriptions.add(clientId, subscriptions)
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
   * One client's SUBSCRIBEs and UNSUBSCRIBEs one behind the other, also those of its connection before. The next one waits a
   * turn longer, in which this one is acted upon and acknowledged.
   */
  #inOrder(clientId: string, work: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      void this.#order.run(clientId, async () => {
        await work().then(resolve, reject)
        await nextTurn()
      })
    })
  }

  /** @returns those of the session, when what was asked for before is stored */
  async restore({ id }: ClientRef): Promise<Subscription[]> {
    await this.#inOrder(id, async () => undefined)
    return this.parts.subscriptions.of(id)
  }
}
