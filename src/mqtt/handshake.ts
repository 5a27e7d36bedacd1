/** PUBACK, PUBREC, PUBREL and PUBCOMP from the client: what is acknowledged needs not be sent again. */
import type { MqttConnection } from './connection.js'
import { isInboxPacketId } from './inbox-delivery.js'
import type { BrokerParts } from './parts.js'
import { encodePubcomp, encodePubrel } from './wire/encode.js'

/** PUBACK or PUBCOMP: the client has the packet. @returns a promise that rejects if the store fails */
export function acknowledged(
  { state }: BrokerParts,
  connection: MqttConnection,
  packetId: number,
): Promise<unknown> | undefined {
  if (isInboxPacketId(packetId)) {
    connection.acknowledged(packetId)
    return undefined
  }
  // Packets of a clean session are stored nowhere.
  return connection.clean ? undefined : state.outgoing.acknowledged(connection.id, packetId)
}

/**
 * PUBREC: the client has the QoS 2 packet. PUBREL goes out when that is stored; an unknown packet is answered, too.
 * @returns a promise that rejects if the store fails
 */
export async function received(
  { state }: BrokerParts,
  connection: MqttConnection,
  packetId: number,
): Promise<void> {
  if (!connection.clean) {
    if (isInboxPacketId(packetId)) await connection.released(packetId)
    else await state.outgoing.update(connection, { cmd: 'pubrel', messageId: packetId })
  }
  connection.transport.send(encodePubrel(packetId))
}

/**
 * PUBREL: the client will not send the QoS 2 packet again. PUBCOMP goes out when its id is forgotten; if the store fails it
 * does not, since the client's next message with that id would be taken for a resend. The client sends PUBREL again
 * [MQTT-4.4.0-1].
 * @returns a promise that rejects if the store fails
 */
export async function released(
  { topics }: BrokerParts,
  connection: MqttConnection,
  packetId: number,
): Promise<void> {
  await topics.released(packetId, connection)
  connection.transport.send(encodePubcomp(packetId))
}
