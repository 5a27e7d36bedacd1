/** The open connections of one broker, and by scoped client id (acl/client-id.ts) which of them hold MQTT sessions. */
import { KeyedSerial } from '../flow/serial.js'
import type { Grantee } from './acl/access.js'
import { clientIdOf } from './acl/client-id.js'
import type { MqttConnection } from './connection.js'

export class Connections {
  /** Those that have not ended. */
  readonly open = new Set<MqttConnection>()
  /** By scoped client id: CONNECTs with the same one, which would take each other's session over, one behind the other. */
  readonly order = new KeyedSerial()
  readonly #holders = new Map<string, MqttConnection>()
  readonly #grantees = new Map<string, Grantee>()

  /** @returns the connection that has the MQTT session now */
  holderOf(scoped: string): MqttConnection | undefined {
    return this.#holders.get(scoped)
  }

  /** The connection has its session from now on, until it ends. */
  hold(connection: MqttConnection): void {
    this.#holders.set(connection.id, connection)
  }

  /**
   * Without a connection: a grantee of any role, since what an absent client is owed is judged again when it is back.
   */
  granteeOf(scoped: string): Grantee {
    return this.#grantees.get(scoped) ?? { clientId: clientIdOf(scoped), role: 'any' }
  }

  /** Known from before the store is asked for the session, whose restored filters are judged by it. */
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
