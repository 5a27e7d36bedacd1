/** The open connections of one broker, by Aedes' client and by scoped client id (acl/client-id.ts). */
import type { Grantee } from './acl/access.js'
import { clientIdOf } from './acl/client-id.js'
import type { Client } from './aedes/types.js'
import type { MqttConnection } from './connection.js'
import type { MqttTransport } from './wire/transport.js'

export class Connections {
  /** Transports that are not closed. */
  readonly open = new Set<MqttTransport>()
  readonly #byClient = new WeakMap<Client, MqttConnection>()
  /** By scoped client id: the connection that holds the MQTT session now. */
  readonly #holders = new Map<string, MqttConnection>()
  /** By scoped client id, from CONNECT on: what the ACL may ask of the client. */
  readonly #grantees = new Map<string, Grantee>()

  add(connection: MqttConnection): void {
    this.#byClient.set(connection.client, connection)
  }

  /** @throws if the client was not made by this broker */
  of(client: Client): MqttConnection {
    const connection = this.#byClient.get(client)
    if (connection === undefined) throw new Error('Aedes names a client that has no connection')
    return connection
  }

  holderOf(scoped: string): MqttConnection | undefined {
    return this.#holders.get(scoped)
  }

  /** The connection holds its session from now on, until it closes or another one takes over. */
  hold(connection: MqttConnection): void {
    const { id } = connection.client
    this.#holders.set(id, connection)
    connection.transport.once('close', () => {
      if (this.#holders.get(id) === connection) this.#holders.delete(id)
    })
  }

  /**
   * Without a connection: a grantee of any role, since what an absent client is owed is judged again when it is back.
   */
  granteeOf(scoped: string): Grantee {
    return this.#grantees.get(scoped) ?? { clientId: clientIdOf(scoped), role: 'any' }
  }

  /** Known from before the store is asked for the session, whose restored filters are judged by it. */
  grant({ client, transport }: MqttConnection, grantee: Grantee): void {
    const { id } = client
    this.#grantees.set(id, grantee)
    transport.once('close', () => {
      if (this.#grantees.get(id) === grantee) this.#grantees.delete(id)
    })
  }
}
