/** Makes a connection of an open socket, before CONNECT says whose it is. */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Locale } from '../core/errors.js'
import type { ConnectParts } from './connect-parts.js'
import { MqttConnection } from './connection.js'
import { PacketHandler } from './packet-handler.js'
import type { BrokerParts } from './parts.js'
import { Pacer } from './wire/pacer.js'
import { MqttTransport, type TransportOptions } from './wire/transport.js'

export interface SocketOrigin extends Pick<TransportOptions, 'webSocket' | 'remoteAddress'> {
  readonly locale?: Locale | undefined
}

/**
 * @param stream an open byte stream that speaks MQTT
 * @param origin.webSocket the WebSocket under the stream, where there is one
 * @param origin.remoteAddress the client's, where the stream itself does not know it (WebSocket, proxy)
 */
export function openConnection(parts: ConnectParts, stream: Duplex, origin: SocketOrigin): void {
  const { options, group, faults, services, metrics, connections, system } = parts
  const pacer = makePacer(parts, stream, origin)
  const { report: onFault } = faults
  const transport = new MqttTransport(stream, {
    limits: options,
    maxBufferedBytes: options.maxBufferedBytes,
    group,
    traffic: system.traffic,
    onFault,
    meter: pacer,
    webSocket: origin.webSocket,
    remoteAddress: origin.remoteAddress,
  })
  const guest = services.limits.join(() => transport.destroy())
  const connection = new MqttConnection(parts, { transport, pacer, guest, locale: origin.locale })
  connections.open.add(connection)
  metrics.connections.inc({ front: 'mqtt' })
  transport.start(new PacketHandler(parts, connection))
}

function makePacer(
  { services, metrics, options, system }: BrokerParts,
  stream: Duplex,
  { remoteAddress }: SocketOrigin,
): Pacer {
  const address = remoteAddress ?? (stream instanceof Socket ? stream.remoteAddress : undefined)
  return new Pacer(services.limits.requestBucket(address), services.limits, {
    bytesPerRequest: options.bytesPerRequest,
    traffic: system.traffic,
    onUnsolicited: count => metrics.refusedPackets.inc({ reason: 'unsolicited' }, count),
  })
}
