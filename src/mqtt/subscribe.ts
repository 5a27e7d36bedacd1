/**
 * SUBSCRIBE and UNSUBSCRIBE. What is granted is stored, then routed, then acknowledged. What is subscribed of the inbox is
 * delivered by an InboxReader, all else by ClientDelivery.
 */
import { toGatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { InboxReader } from '../inbox/reader.js'
import { inboxFilters, isInboxFilter } from './acl/topics.js'
import type { MqttConnection } from './connection.js'
import { InboxDelivery } from './inbox-delivery.js'
import { type BrokerParts, logStoreFault } from './parts.js'
import type { BrokerPacket } from './routing/persistence/kv.js'
import type { FilterRequest, SubscribePacket, UnsubscribePacket } from './wire/decode.js'
import { encodeSuback, encodeUnsuback, REFUSED_FILTER } from './wire/encode.js'
import type { QoS } from './wire/packet-types.js'

/**
 * @returns a promise if the store is asked: later SUBSCRIBEs and UNSUBSCRIBEs of the client wait for it. Otherwise all is
 *   done, so that a PUBLISH behind reaches its own sender, too
 * @throws (by the promise) GatewayError if the store failed: nothing is acknowledged
 */
export function subscribe(
  parts: BrokerParts,
  connection: MqttConnection,
  { messageId, filters }: SubscribePacket,
): Promise<void> | undefined {
  const isGranted = new Map<string, boolean>()
  for (const { topic } of filters)
    if (!isGranted.has(topic)) isGranted.set(topic, admitFilter(parts, connection, topic))
  const granted = filters.filter(({ topic }) => isGranted.get(topic))
  const finish = () => {
    if (connection.hasLeft) return
    // A filter that is named twice is answered twice, and its last QoS counts [MQTT-3.8.4-4].
    for (const { topic, qos } of granted) connection.delivery.subscribe(topic, qos)
    const codes = filters.map(({ topic, qos }) => (isGranted.get(topic) ? qos : REFUSED_FILTER))
    connection.transport.send(encodeSuback(messageId, codes))
    subscribed(parts, connection, filters.length - granted.length, granted)
  }
  const stored = storeFilters(parts, connection, granted)
  if (stored !== undefined) return stored.then(finish)
  finish()
  return undefined
}

/** By the rights of the ACL (acl/access.ts), then the limit on filters. */
function admitFilter(parts: BrokerParts, connection: MqttConnection, filter: string): boolean {
  if (connection.hasLeft) return false
  if (!parts.access.subscribe(connection.userId, filter, connection.grantee)) return false
  const { filters } = connection
  if (filters.admit(filter)) return true
  parts.services.limits.count('mqtt.maxSubscriptions')
  if (filters.isIgnored) connection.end('OVER_LIMITS')
  return false
}

/** @returns undefined if nothing of them is stored */
function storeFilters(
  parts: BrokerParts,
  connection: MqttConnection,
  granted: readonly FilterRequest[],
): Promise<void> | undefined {
  const cursor = loadCursor(parts, connection, granted)
  if (connection.clean || granted.length === 0) return cursor
  const store = () => parts.state.addSubscriptions(connection, granted)
  return cursor?.then(store) ?? store()
}

/**
 * With a filter of the own inbox SUBACK promises all that is stored from now on, so that the device's cursor is durable
 * before it goes out.
 */
function loadCursor(
  { services }: BrokerParts,
  { userId, device }: MqttConnection,
  filters: readonly FilterRequest[],
): Promise<void> | undefined {
  if (userId === undefined || !filters.some(({ topic }) => isInboxFilter(topic, userId))) return undefined
  return services.inbox.cursors.load(userId, device).then(() => undefined)
}

/** The filters are routed and acknowledged: their inbox and their retained messages follow. */
function subscribed(
  parts: BrokerParts,
  connection: MqttConnection,
  refused: number,
  granted: readonly FilterRequest[],
): void {
  const { userId } = connection
  if (refused > 0)
    parts.services.log.info({ event: 'subscribe.refused', userId, count: refused }, 'filters refused')
  if (granted.length === 0) return
  if (userId !== undefined && granted.some(({ topic }) => isInboxFilter(topic, userId)))
    openInbox(parts, connection)
  const topics = [...new Set(granted.map(({ topic }) => topic))]
  sendRetained(parts, connection, topics).catch(thrown => logStoreFault(parts, 'retained', thrown))
}

async function sendRetained(
  { state }: BrokerParts,
  { delivery, transport }: MqttConnection,
  filters: string[],
): Promise<void> {
  const messages = state.createRetainedStreamCombi(filters) as AsyncIterable<BrokerPacket>
  for await (const message of messages) {
    if (transport.isDestroyed) return
    delivery.retained(message)
    await transport.drained()
  }
}

/** The same for a client that UNSUBSCRIBEs. The inbox stays open while another of its filters is subscribed to. */
export function unsubscribe(
  { state }: BrokerParts,
  connection: MqttConnection,
  { messageId, filters }: UnsubscribePacket,
): Promise<void> | undefined {
  const finish = () => {
    if (connection.hasLeft) return
    for (const filter of filters) connection.delivery.unsubscribe(filter)
    connection.filters.remove(filters)
    connection.transport.send(encodeUnsuback(messageId))
    const { userId } = connection
    if (userId !== undefined && inboxQoS(connection, userId) === undefined) connection.closeInbox()
  }
  if (!connection.clean) return state.removeSubscriptions(connection, filters).then(finish)
  finish()
  return undefined
}

/** @returns the stored filters that the session may still have @throws GatewayError */
export async function restoreFilters(
  parts: BrokerParts,
  connection: MqttConnection,
): Promise<readonly FilterRequest[]> {
  if (!connection.isResumed) return []
  const stored = (await parts.state.subscriptionsByClient(connection)) as FilterRequest[]
  const granted = stored.filter(({ topic }) => admitFilter(parts, connection, topic))
  await loadCursor(parts, connection, granted)
  return granted
}

/**
 * Begins to deliver the inbox where the session is subscribed to it, at the highest QoS of its filters. What the device
 * has not confirmed comes (again), oldest first. A SUBSCRIBE that changes nothing, as clients send it whose session was
 * restored, does not begin anew: its messages are on the way already.
 */
export function openInbox(parts: BrokerParts, connection: MqttConnection): void {
  const { userId, transport, device, isResumed } = connection
  if (userId === undefined || connection.hasLeft) return
  const qos = inboxQoS(connection, userId)
  if (qos === connection.inbox?.qos) return
  connection.closeInbox()
  if (qos === undefined) return
  const { services, metrics, options } = parts
  const tell = (event: string) => connection.tell(event)
  const inbox = new InboxDelivery(transport, { userId, qos, isResumed, tell })
  const { maxInflight: windowMessages, windowChars } = options
  const reading = { userId, device, sink: inbox, windowMessages, windowChars }
  inbox.reader = new InboxReader(services.inbox, metrics, services.log, reading)
  connection.inbox = inbox
  inbox.reader.start().catch(thrown => {
    const failed = { event: 'store.failed', operation: 'startReader', userId, err: toGatewayError(thrown) }
    services.log.error(failed, 'inbox not opened')
    connection.end('STORE_UNAVAILABLE')
  })
}

/** @returns undefined if the session is not subscribed to its inbox */
function inboxQoS({ delivery }: MqttConnection, userId: UserId): QoS | undefined {
  const granted = inboxFilters(userId).map(filter => delivery.granted(filter) ?? -1)
  const highest = Math.max(...granted)
  return highest < 0 ? undefined : (highest as QoS)
}
