/** What cannot be done for a client ends its connection. */
import { GatewayError } from '../core/errors.js'
import type { MqttConnection } from './connection.js'
import type { BrokerParts } from './parts.js'
import { refuseMalformed } from './refusal.js'
import { MalformedPacket } from './wire/packet-rules.js'
import { REASON } from './wire/reason-codes.js'

/**
 * A handler has thrown. A store that fails closes the connection, so that the client sends again on its next one; anything
 * else is a fault.
 * @param where name of the handler
 */
export function failed(parts: BrokerParts, connection: MqttConnection, where: string, thrown: unknown): void {
  if (thrown instanceof GatewayError) connection.fail(thrown)
  else if (thrown instanceof MalformedPacket) malformed(parts, connection, thrown)
  else {
    parts.faults.report(where, thrown)
    connection.dismiss('ERROR')
  }
}

/** A packet is malformed, or what the protocol does not allow. */
export function malformed(parts: BrokerParts, connection: MqttConnection, error: MalformedPacket): void {
  const { metrics, services } = parts
  const { reason, clause, code } = error
  connection.endsFor('malformed')
  metrics.refusedPackets.inc({ reason: 'malformed' })
  // Where the packet is over a limit of ours, `clause` is the limit's config key under `mqtt`.
  if (/^[a-z]/.test(clause)) services.limits.count(`mqtt.${clause}`)
  services.log.info({ event: 'packet.refused', reason, clause }, 'malformed packet')
  if (!connection.isAccepted) refuseMalformed(connection, error)
  connection.dismiss(code, { reasonString: reason })
}

/** The client takes no packet as large as the answer to one of its packets must be. */
export function tooLarge(connection: MqttConnection): void {
  connection.endsFor('maximum-packet-size')
  connection.fail(new Error('an answer is larger than the client takes'), REASON.PACKET_TOO_LARGE)
}

/** The client was silent for longer than its keep alive allows. */
export function silent(connection: MqttConnection): void {
  connection.endsFor('keep-alive')
  connection.fail(new Error('keep alive timeout'), REASON.KEEP_ALIVE_TIMEOUT)
}
