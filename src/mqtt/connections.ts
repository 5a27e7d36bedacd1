/** The open connections of one broker, and by scoped client id (acl/client-id.ts) which of them hold MQTT sessions. */
import { KeyedSerial } from '../flow/serial.js'
import type { Grantee } from './acl/access.js'
import { clientIdOf } from './acl/client-id.js'
import type { MqttConnection } from './connection.js'
import type { ConnectionCounts } from './system-topics.js'
import { REASON } from './wire/reason-codes.js'

/** Event-loop turns in which what clients had sent is read: sockets, then TLS or WebSocket, then packets. */
const TURNS_TO_READ = 5

/** Resolves when what they had sent is handled: a client that sent DISCONNECT just before leaves no will [MQTT-3.1.2-10]. */
async function caughtUp(connections: readonly MqttConnection[]): Promise<void> {
  for (const { transport } of connections) transport.catchUp()
  for (let turn = 0; turn < TURNS_TO_READ; turn++) await new Promise(setImmediate)
}

export class Connections {
  /** Those that have not ended. */
  readonly open = new Set<MqttConnection>()
  readonly #order = new KeyedSerial()
  /** Work in `inOrder` that is not done. */
  readonly #working = new Set<Promise<void>>()
  readonly #holders = new Map<string, MqttConnection>()
  #mostHeld = 0
  readonly #grantees = new Map<string, Grantee>()

  /**
   * Work on one session, one piece behind the other: CONNECTs with the same client id would take it over from each other.
   * @param scoped client id
   */
  async inOrder(scoped: string, work: () => Promise<void>): Promise<void> {
    const done = this.#order.run(scoped, work)
    this.#working.add(done)
    try {
      await done
    } finally {
      this.#working.delete(done)
    }
  }

  /** Resolves when no session is worked on. */
  async settled(): Promise<void> {
    while (this.#working.size > 0) await Promise.allSettled(this.#working)
  }

  /** Ends all of them. */
  shutDown(): void {
    for (const connection of this.open) {
      connection.endsFor('SHUTDOWN')
      connection.dismiss('SHUTDOWN')
    }
  }

  /**
   * Ends those that have been open longest, when what they had sent is read.
   * @param after s until a client should be back
   * @param serverReference where clients of MQTT 5 should go instead; '': back here
   */
  async dismiss(count: number, after: () => number, serverReference: string): Promise<void> {
    const some = [...this.open].slice(0, count)
    await caughtUp(some)
    const reason = serverReference === '' ? 'SHUTDOWN' : REASON.USE_ANOTHER_SERVER
    for (const connection of some) {
      const seconds = String(after())
      connection.end('SHUTDOWN', reason, {
        reasonString: `server is closing, come back in ${seconds} s`,
        userProperties: [['retry-after', seconds]],
        ...(serverReference !== '' && { serverReference }),
      })
    }
  }

  /** See `caughtUp`. */
  async caughtUp(): Promise<void> {
    await caughtUp([...this.open])
  }

  get counts(): ConnectionCounts {
    const holders = [...this.#holders.values()]
    const clean = holders.filter(holder => holder.clean)
    return {
      connected: holders.length,
      mostConnected: this.#mostHeld,
      kept: holders.length - clean.length,
      cleanFilters: clean.reduce((sum, { delivery }) => sum + delivery.filters.count, 0),
    }
  }

  /** @returns the connection that has the MQTT session now */
  holderOf(scoped: string): MqttConnection | undefined {
    return this.#holders.get(scoped)
  }

  /** The connection has its session from now on, until it ends. */
  hold(connection: MqttConnection): void {
    this.#holders.set(connection.id, connection)
    this.#mostHeld = Math.max(this.#mostHeld, this.#holders.size)
  }

  /**
   * Without a connection: a grantee of any role, since what an absent client is owed is judged again when it is back.
   */
  granteeOf(scoped: string): Grantee {
    return this.#grantees.get(scoped) ?? { clientId: clientIdOf(scoped), role: 'any' }
  }

  /** Known from before the session is found: its will is judged by it. */
  grant({ id }: MqttConnection, grantee: Grantee): void {
    this.#grantees.set(id, grantee)
  }

  /** The connection has ended. */
  remove(connection: MqttConnection): void {
    const { id, grantee } = connection
    this.open.delete(connection)
    if (this.#holders.get(id) === connection) this.#holders.delete(id)
    if (grantee !== undefined && this.#grantees.get(id) === grantee) this.#grantees.delete(id)
  }
}
