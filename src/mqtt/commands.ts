/** Which command a packet is for, except CONNECT, PUBLISH and PUBACK (packet-handler.ts). */
import type { ConnectParts } from './connect-parts.js'
import type { MqttConnection } from './connection.js'
import { disconnect } from './disconnect.js'
import { acknowledged, received, released } from './handshake.js'
import { subscribe, unsubscribe } from './subscribe.js'
import { decodePacketId, decodeSubscribe, decodeUnsubscribe } from './wire/decode.js'
import { decodeDisconnect5, decodeReason5, decodeSubscribe5, decodeUnsubscribe5 } from './wire/decode5.js'
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
import { REASON } from './wire/reason-codes.js'

const PLAIN_DISCONNECT = { reason: REASON.SUCCESS, properties: {} }

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
  const is5 = connection.terms.version === 5
  switch (first) {
    case SUBSCRIBE: {
      const packet = is5 ? decodeSubscribe5(bytes, at, end) : decodeSubscribe(bytes, at, end)
      return () => subscribe(parts, connection, packet)
    }
    case UNSUBSCRIBE: {
      const packet = is5 ? decodeUnsubscribe5(bytes, at, end) : decodeUnsubscribe(bytes, at, end)
      return () => unsubscribe(parts, connection, packet)
    }
    case PUBREC:
    case PUBREL:
    case PUBCOMP: {
      const packetId = decodePacketId(bytes, at)
      const reason = is5 ? decodeReason5(bytes, at, end) : REASON.SUCCESS
      const command = HANDSHAKES[first]
      return () => command(parts, connection, packetId, reason)
    }
    case PINGREQ:
      return () => ping(connection)
    case DISCONNECT: {
      const packet = is5 ? decodeDisconnect5(bytes, at, end) : PLAIN_DISCONNECT
      return () => disconnect(parts, connection, packet)
    }
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

const NAMES: ReadonlyMap<number, string> = new Map([
  [SUBSCRIBE, 'mqtt.subscribe'],
  [UNSUBSCRIBE, 'mqtt.unsubscribe'],
])

/** The command's name, for faults and their metric. */
export const nameOf = (first: number): string =>
  (first & TYPE) === PUBLISH ? 'mqtt.publish' : (NAMES.get(first) ?? 'mqtt.packet')
