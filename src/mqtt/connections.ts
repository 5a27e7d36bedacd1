/** The open connections of one broker, and by scoped client id (acl/client-id.ts) which of them hold MQTT sessions. */
import { KeyedSerial } from '../flow/serial.js'
import type { Grantee } from './acl/access.js'
import { clientIdOf } from './acl/client-id.js'
import type { MqttConnection } from './connection.js'
import type { ConnectionCounts } from './system-topics.js'

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
