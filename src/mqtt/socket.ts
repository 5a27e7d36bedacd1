/** Makes a connection of an open socket, before CONNECT says whose it is. */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Locale } from '../core/errors.js'
import type { Guest } from '../limits/guests.js'
import type { AedesClient } from './aedes/client.js'
import { ClientDelivery } from './aedes/delivery.js'
import { MqttConnection } from './connection.js'
import type { Connections } from './connections.js'
import type { BrokerParts } from './parts.js'
import { Pacer } from './wire/pacer.js'
import type { MalformedPacket } from './wire/packet-rules.js'
import { noticeSubscribe } from './wire/suback.js'
import { MqttTransport, type TransportOptions } from './wire/transport.js'

export interface SocketOrigin extends Pick<TransportOptions, 'webSocket' | 'remoteAddress'> {
  readonly locale?: Locale | undefined
}

/**
 * @param stream an open byte stream that speaks MQTT
 * @param origin.webSocket the WebSocket under the stream, where there is one
 * @param origin.remoteAddress the client's, where the stream itself does not know it (WebSocket, proxy)
 */
export function openConnection(
  parts: BrokerParts,
  connections: Connections,
  stream: Duplex,
  origin: SocketOrigin,
): void {
  const pacer = makePacer(parts, stream, origin)
  const transport = new MqttTransport(stream, {
    ...parts.options,
    ...origin,
    meter: pacer,
    group: parts.group,
    onMalformed: error => {
      connection.endsFor('malformed')
      reportMalformed(parts, error)
    },
    onFault: parts.faults.report,
    onStalled: () => {
      connection.endsFor('stalled')
      reportStalled(parts)
    },
  })
  const guest = count(parts, connections, transport)
  const client = parts.aedes.handle(transport) as AedesClient
  const delivery: ClientDelivery = new ClientDelivery(client, transport, {
    mayRead: topic => parts.access.read(connection.userId, topic, connection.grantee),
    isStreamed: packet => parts.state.outgoing.isStreamed(client, packet),
    recordId: packet => parts.state.outgoingUpdate(client, packet),
    enqueue: (packet, qos) => parts.topics.enqueue(packet, { clientId: client.id, qos }),
    isInFlight: messageId => parts.state.outgoing.isInFlight(client.id, messageId),
    onSkipped: () => parts.metrics.dropped.inc({ limit: 'mqtt.maxBufferedBytes' }),
    onOverrun: () => connection.end('SLOW_CLIENT'),
    maxHeldBytes: parts.options.maxBufferedBytes,
  })
  const link = { client, transport, delivery, pacer, guest, locale: origin.locale }
  const connection = new MqttConnection(parts, link)
  client._parser.prependListener('packet', noticeSubscribe)
  client.subscriptions = parts.router.follow(client.subscriptions, delivery)
  connections.add(connection)
}

/** Counts the connection until it closes. */
function count({ services, metrics }: BrokerParts, { open }: Connections, transport: MqttTransport): Guest {
  open.add(transport)
  metrics.connections.inc({ front: 'mqtt' })
  const guest = services.limits.join(() => transport.destroy())
  transport.once('close', () => {
    guest.left()
    open.delete(transport)
    metrics.connections.dec({ front: 'mqtt' })
  })
  return guest
}

function makePacer(
  { services, metrics, options }: BrokerParts,
  stream: Duplex,
  { remoteAddress }: SocketOrigin,
): Pacer {
  const address = remoteAddress ?? (stream instanceof Socket ? stream.remoteAddress : undefined)
  return new Pacer(services.limits.requestBucket(address), services.limits, {
    bytesPerRequest: options.bytesPerRequest,
    onUnsolicited: count => metrics.refusedPackets.inc({ reason: 'unsolicited' }, count),
  })
}

function reportMalformed({ metrics, services }: BrokerParts, { reason, clause }: MalformedPacket): void {
  metrics.refusedPackets.inc({ reason: 'malformed' })
  // Where the packet is over a limit of ours, `clause` is the limit's config key under `mqtt`.
  if (/^[a-z]/.test(clause)) services.limits.count(`mqtt.${clause}`)
  services.log.info({ event: 'packet.refused', reason, clause }, 'malformed packet')
}

function reportStalled({ metrics, services }: BrokerParts): void {
  metrics.closed.inc({ front: 'mqtt', reason: 'stalled' })
  services.log.warn({ event: 'socket.stalled', front: 'mqtt' }, 'client takes nothing')
}
