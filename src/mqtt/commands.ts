/** Which command a packet is for, except CONNECT, PUBLISH and PUBACK (packet-handler.ts). */
import type { ConnectParts } from './connect.js'
import type { MqttConnection } from './connection.js'
import { acknowledged, received, released } from './handshake.js'
import { subscribe, unsubscribe } from './subscribe.js'
import { decodePacketId, decodeSubscribe, decodeUnsubscribe } from './wire/decode.js'
import { PINGRESP } from './wire/encode.js'
import {
  DISCONNECT,
  PINGREQ,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  SUBSCRIBE,
  TYPE,
  UNSUBSCRIBE,
} from './wire/packet-types.js'

/** @returns a promise while the store is asked; it rejects with a GatewayError if the store fails */
type Command = () => Promise<unknown> | undefined

/**
 * @param first the packet's first byte
 * @returns what to run; the packet's bytes are not needed any more then
 */
export function commandOf(
  parts: ConnectParts,
  connection: MqttConnection,
  first: number,
  bytes: Buffer,
  at: number,
  end: number,
): Command {
  switch (first) {
    case SUBSCRIBE: {
      const packet = decodeSubscribe(bytes, at, end)
      return () => subscribe(parts, connection, packet)
    }
    case UNSUBSCRIBE: {
      const packet = decodeUnsubscribe(bytes, at, end)
      return () => unsubscribe(parts, connection, packet)
    }
    case PUBREC:
    case PUBREL:
    case PUBCOMP: {
      const packetId = decodePacketId(bytes, at)
      const command = HANDSHAKES[first]
      return () => command(parts, connection, packetId)
    }
    case PINGREQ:
      return () => ping(connection)
    case DISCONNECT:
      return () => disconnect(connection)
    default:
      throw new Error(`no command for ${first}`)
  }
}

const HANDSHAKES = { [PUBREC]: received, [PUBREL]: released, [PUBCOMP]: acknowledged }

/** SUBSCRIBE and UNSUBSCRIBE of one client wait for each other. */
export const isOrdered = (first: number): boolean => first === SUBSCRIBE || first === UNSUBSCRIBE

/** Resolves when the client has taken it: one that sends pings and takes no answers is not read. */
function ping({ transport }: MqttConnection): Promise<void> | undefined {
  return transport.send(PINGRESP) ? undefined : transport.drained()
}

/** The end of the connection discards the will (leave.ts), since DISCONNECT was read. */
function disconnect({ transport }: MqttConnection): undefined {
  transport.destroy()
}

const NAMES: ReadonlyMap<number, string> = new Map([
  [SUBSCRIBE, 'mqtt.subscribe'],
  [UNSUBSCRIBE, 'mqtt.unsubscribe'],
])

/** The command's name, for faults and their metric. */
export const nameOf = (first: number): string =>
  (first & TYPE) === PUBLISH ? 'mqtt.publish' : (NAMES.get(first) ?? 'mqtt.packet')
