/** The end of a connection: DISCONNECT, its loss, or because we close it. */
import type { ConnectParts } from './connect-parts.js'
import type { MqttConnection } from './connection.js'
import { logStoreFault } from './parts.js'

/** Its transport has ended: ends all else of the connection, and publishes its will unless the client sent DISCONNECT. */
export function leave(parts: ConnectParts, connection: MqttConnection): void {
  const { connections, wills, expiry, metrics, phase, topics } = parts
  const unsettled = connection.ended()
  connection.link.guest.left()
  metrics.connections.dec({ front: 'mqtt' })
  connections.remove(connection)
  wills.connectionEnded(connection)
  expiry.left(connection)
  if (unsettled.length > 0 && !phase.isClosing)
    topics.shared.passOn(connection, unsettled).catch(thrown => logStoreFault(parts, 'persistence', thrown))
  if (connection.clean && connection.unreleasedCount > 0) forgetReceived(parts, connection)
}

/** QoS 2 ids of a clean session end with it [MQTT-3.1.2-6]; of a connection that took over they are its own. */
function forgetReceived(parts: ConnectParts, { id }: MqttConnection): void {
  const { connections, state } = parts
  const forget = async () => {
    if (connections.holderOf(id) === undefined) await state.cleanIncoming({ id })
  }
  connections.inOrder(id, forget).catch(thrown => logStoreFault(parts, 'persistence', thrown))
}
