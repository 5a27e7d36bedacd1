/** What CONNACK of MQTT 5 tells of the server (3.2.2.3). What it does not name is there as the specification has it. */

import { clientIdOf } from './acl/client-id.js'
import { repliesTopic } from './acl/topics.js'
import type { MqttConnection } from './connection.js'
import type { BrokerOptions } from './options.js'
import type { BrokerParts } from './parts.js'
import type { ConnectPacket } from './wire/connect-packet.js'
import { type Properties, TOPIC_ALIAS_MAXIMUM } from './wire/property-table.js'

/** Receive maximum of who names none: as many as there are packet identifiers. */
const ALL_IDS = 65_535

/** The keep alive that holds, s; 0: none. MQTT 3 cannot be told another one than it asks for, so it is refused before. */
export function keepAliveOf({ keepAliveSeconds: asked }: ConnectPacket, options: BrokerOptions): number {
  const { keepaliveLimitSeconds: limit } = options
  return limit > 0 && (asked === 0 || asked > limit) ? limit : asked
}

/** @param packet what the client asked for */
export function capabilities(
  { options }: BrokerParts,
  { id, userId, expirySeconds }: MqttConnection,
  packet: ConnectPacket,
): Properties {
  if (packet.version !== 5) return {}
  const { sessionExpiryInterval = 0, requestResponseInformation } = packet.properties
  const serverKeepAlive = keepAliveOf(packet, options)
  return {
    maximumPacketSize: options.maxPacketBytes,
    // More at QoS 1 are read later; at QoS 2 each one has to be kept until PUBREL.
    ...(options.maxUnreleased < ALL_IDS && { receiveMaximum: options.maxUnreleased }),
    topicAliasMaximum: TOPIC_ALIAS_MAXIMUM,
    ...(expirySeconds !== sessionExpiryInterval && { sessionExpiryInterval: expirySeconds ?? 0 }),
    ...(packet.clientId === '' && { assignedClientIdentifier: clientIdOf(id) }),
    ...(serverKeepAlive !== packet.keepAliveSeconds && { serverKeepAlive }),
    ...(requestResponseInformation === 1 &&
      userId !== undefined && { responseInformation: repliesTopic(userId) }),
  }
}
