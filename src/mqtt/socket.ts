/** Makes a connection of an open socket, before CONNECT says whose it is. */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Locale } from '../core/errors.js'
import type { ConnectParts } from './connect-parts.js'
import { MqttConnection } from './connection.js'
import { PacketHandler } from './packet-handler.js'
import { Pacer } from './wire/pacer.js'
import { MqttTransport, type TransportOrigin } from './wire/transport.js'

export interface SocketOrigin extends Omit<TransportOrigin, 'meter'> {
  readonly locale?: Locale | undefined
}

/**
 * @param stream an open byte stream that speaks MQTT
 * @param origin.webSocket the WebSocket under the stream, where there is one
 * @param origin.remoteAddress the client's, where the stream itself does not know it (WebSocket, proxy)
 */
export function openConnection(
  parts: ConnectParts,
  stream: Duplex,
  { webSocket, remoteAddress, locale }: SocketOrigin,
): void {
  const { services, metrics, connections, pacing } = parts
  const { limits } = services
  const address = remoteAddress ?? (stream instanceof Socket ? stream.remoteAddress : undefined)
  const pacer = new Pacer(limits.requestBucket(address), limits, pacing)
  const transport = new MqttTransport(stream, parts.transport, {
    meter: pacer,
    webSocket,
    remoteAddress: address,
  })
  const guest = limits.join(makeWay, transport)
  const connection = new MqttConnection(parts, { transport, pacer, guest, locale })
  connections.open.add(connection)
  metrics.connections.inc({ front: 'mqtt' })
  transport.start(new PacketHandler(parts, connection))
}

/** Ends a connection without a login, for another one. */
const makeWay = (transport: MqttTransport): void => transport.destroy()
