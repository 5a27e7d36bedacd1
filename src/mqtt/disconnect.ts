/** DISCONNECT: leave.ts does what follows of it. */
import type { MqttConnection } from './connection.js'
import type { BrokerParts } from './parts.js'
import { maxExpirySeconds } from './session.js'
import type { DisconnectPacket5 } from './wire/decode5.js'
import { REASON } from './wire/reason-codes.js'

/** The will is discarded, unless the client says that something is wrong [MQTT-3.14.4-3]. */
export function disconnect(
  { options }: BrokerParts,
  connection: MqttConnection,
  { reason, properties }: DisconnectPacket5,
): undefined {
  const { sessionExpiryInterval: seconds } = properties
  connection.leftFor = reason
  if (seconds !== undefined && seconds > 0 && connection.expirySeconds === 0) {
    // CONNECT said that the session ends with the connection (MQTT 5, 3.14.2.2.2).
    connection.leftFor = REASON.PROTOCOL_ERROR
    connection.answer(connection.terms.encoder.disconnect(REASON.PROTOCOL_ERROR))
  } else if (seconds !== undefined) connection.expirySeconds = Math.min(seconds, maxExpirySeconds(options))
  connection.transport.destroy()
}
