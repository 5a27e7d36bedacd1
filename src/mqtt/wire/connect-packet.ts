/** CONNECT of any version. */
import { type ConnectPacket4, MQTT_3_1, readConnect4 } from './connect-rules.js'
import { type ConnectPacket5, readConnect5 } from './connect-rules5.js'
import { type Fields, MalformedPacket, type PacketLimits } from './packet-rules.js'
import { REASON } from './reason-codes.js'

export type ConnectPacket = ConnectPacket4 | ConnectPacket5

/** 3: MQTT 3.1, 4: MQTT 3.1.1, 5: MQTT 5. */
export type Version = ConnectPacket['version']

/** @returns what is copied out of the packet @throws MalformedPacket with the version, once that was read */
export function readConnect(fields: Fields, limits: PacketLimits): ConnectPacket {
  const version = readProtocol(fields)
  try {
    return version === 5 ? readConnect5(fields, limits) : readConnect4(fields, version, limits)
  } catch (error) {
    throw error instanceof MalformedPacket ? error.in(version) : error
  }
}

/** Set by some bridges in the level that they speak. */
const BRIDGE = 0x80

function readProtocol(fields: Fields): Version {
  const protocol = fields.data().toString('latin1')
  if (protocol !== 'MQTT' && protocol !== 'MQIsdp')
    throw new MalformedPacket('unknown protocol name', '[MQTT-3.1.2-1]')
  const version = fields.byte()
  if (protocol === 'MQIsdp' ? version === MQTT_3_1 : version === 4 || version === 5) return version as Version
  // Whoever speaks a later version reads CONNACK of version 5.
  throw new MalformedPacket(
    'unacceptable protocol level',
    '[MQTT-3.1.2-2]',
    REASON.UNSUPPORTED_PROTOCOL_VERSION,
  ).in((version & ~BRIDGE) >= 5 ? 5 : 4)
}
