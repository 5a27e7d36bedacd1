/** PUBACK, PUBREC, PUBREL and PUBCOMP from the client: what is acknowledged needs not be sent again. */
import type { MqttConnection } from './connection.js'
import { isInboxPacketId } from './inbox-delivery.js'
import type { BrokerParts } from './parts.js'
import { PUBCOMP, PUBREL } from './wire/packet-types.js'
import { REASON } from './wire/reason-codes.js'

/** PUBACK or PUBCOMP: the client has the packet. @returns a promise that rejects if the store fails */
export function acknowledged(
  { state }: BrokerParts,
  connection: MqttConnection,
  packetId: number,
): Promise<unknown> | undefined {
  const isOfInbox = isInboxPacketId(packetId)
  if (isOfInbox) connection.acknowledged(packetId)
  connection.settled(packetId)
  // Packets of a clean session are stored nowhere.
  return isOfInbox || connection.clean ? undefined : state.outgoing.acknowledged(connection.id, packetId)
}

/**
 * PUBREC: the client has the QoS 2 packet. PUBREL goes out when that is stored; an unknown packet is answered, too.
 * @param reason of MQTT 5; a failure ends the hand-shake, and the packet is not sent again
 * @returns a promise that rejects if the store fails
 */
export async function received(
  parts: BrokerParts,
  connection: MqttConnection,
  packetId: number,
  reason: number,
): Promise<void> {
  const { transport, terms } = connection
  if (reason >= REASON.UNSPECIFIED_ERROR) {
    await acknowledged(parts, connection, packetId)
    return
  }
  if (terms.inFlight?.has(packetId) === false) {
    transport.send(terms.encoder.acknowledge(PUBREL, packetId, REASON.PACKET_IDENTIFIER_NOT_FOUND))
    return
  }
  if (!connection.clean) {
    if (isInboxPacketId(packetId)) await connection.released(packetId)
    else await parts.state.outgoing.update(connection, { cmd: 'pubrel', messageId: packetId })
  }
  transport.send(terms.encoder.acknowledge(PUBREL, packetId))
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
  const isKnown = await topics.released(packetId, connection)
  const reason = isKnown ? REASON.SUCCESS : REASON.PACKET_IDENTIFIER_NOT_FOUND
  connection.transport.send(connection.terms.encoder.acknowledge(PUBCOMP, packetId, reason))
}
