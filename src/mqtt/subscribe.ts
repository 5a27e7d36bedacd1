/**
 * SUBSCRIBE and UNSUBSCRIBE. What is granted is stored, then routed, then acknowledged. What is subscribed of the inbox is
 * delivered by an InboxReader, all else by ClientDelivery.
 */
import { isInboxFilter, isShared, sharesOwnTree } from './acl/topics.js'
import type { MqttConnection } from './connection.js'
import { inboxWanted, openInbox } from './open-inbox.js'
import { type BrokerParts, logStoreFault } from './parts.js'
import { asStored, fromStored } from './routing/stored-filters.js'
import type { FilterRequest, SubscribePacket, UnsubscribePacket } from './wire/decode.js'
import { REASON } from './wire/reason-codes.js'

/**
 * @returns a promise if the store is asked: later SUBSCRIBEs and UNSUBSCRIBEs of the client wait for it. Otherwise all is
 *   done, so that a PUBLISH behind reaches its own sender, too
 * @throws (by the promise) GatewayError if the store failed: nothing is acknowledged
 */
export function subscribe(
  parts: BrokerParts,
  connection: MqttConnection,
  { messageId, filters, subscriptionIdentifier }: SubscribePacket,
): Promise<void> | undefined {
  const refusals = new Map<string, number | undefined>()
  for (const { topic } of filters)
    if (!refusals.has(topic)) refusals.set(topic, refusalOf(parts, connection, topic))
  const granted = filters.filter(({ topic }) => refusals.get(topic) === undefined)
  const finish = () => {
    if (connection.hasLeft) return
    // A filter that is named twice is answered twice, and its last QoS counts [MQTT-3.8.4-4].
    const retained = granted.filter(one => wantsRetained(connection, one))
    const since = parts.router.tick()
    for (const one of granted) connection.delivery.filters.add(one.topic, { ...one, subscriptionIdentifier })
    connection.filtersSettled()
    const reasons = filters.map(({ topic, qos }) => refusals.get(topic) ?? qos)
    connection.transport.send(connection.terms.encoder.suback(messageId, reasons))
    subscribed(parts, connection, { refused: filters.length - granted.length, granted, retained, since })
  }
  const stored = storeFilters(parts, connection, granted, subscriptionIdentifier)
  if (stored !== undefined) return stored.then(finish)
  finish()
  return undefined
}

/** By the rights of the ACL (acl/access.ts), then the limit on filters. @returns the reason code of a refusal */
function refusalOf(parts: BrokerParts, connection: MqttConnection, filter: string): number | undefined {
  if (connection.hasLeft) return REASON.UNSPECIFIED_ERROR
  if (sharesOwnTree(filter)) return REASON.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
  if (!mayHave(parts, connection, filter)) return REASON.NOT_AUTHORIZED
  const { filters } = connection
  if (filters.admit(filter)) return undefined
  parts.services.limits.count('mqtt.maxSubscriptions')
  if (filters.isIgnored) connection.end('OVER_LIMITS')
  return REASON.QUOTA_EXCEEDED
}

const mayHave = ({ access }: BrokerParts, { userId, grantee }: MqttConnection, filter: string): boolean =>
  access.subscribe(userId, filter, grantee)

/** Retain handling (MQTT 5, 3.8.3.1): 1 sends retained messages only where the subscription is new. */
const wantsRetained = ({ delivery }: MqttConnection, { topic, retainHandling = 0 }: FilterRequest): boolean =>
  !isShared(topic) &&
  (retainHandling === 0 || (retainHandling === 1 && delivery.filters.granted(topic) === undefined))

/** @returns undefined if nothing of them is stored */
function storeFilters(
  parts: BrokerParts,
  connection: MqttConnection,
  granted: readonly FilterRequest[],
  subscriptionIdentifier: number | undefined,
): Promise<void> | undefined {
  const cursor = loadCursor(parts, connection, granted)
  if (connection.clean || granted.length === 0) return cursor
  const store = () =>
    parts.state.addSubscriptions(
      connection,
      granted.map(one => asStored(one, subscriptionIdentifier)),
    )
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

interface Subscribed {
  /** How many were refused. */
  readonly refused: number
  readonly granted: readonly FilterRequest[]
  /** Those whose retained messages are sent. */
  readonly retained: readonly FilterRequest[]
  /** Tick from before the filters were added. */
  readonly since: number
}

/** The filters are routed and acknowledged: their inbox and their retained messages follow. */
function subscribed(
  parts: BrokerParts,
  connection: MqttConnection,
  { refused, granted, retained, since }: Subscribed,
): void {
  const { userId } = connection
  if (refused > 0)
    parts.services.log.info({ event: 'subscribe.refused', userId, count: refused }, 'filters refused')
  if (userId !== undefined && granted.some(({ topic }) => isInboxFilter(topic, userId)))
    openInbox(parts, connection)
  if (retained.length === 0) return
  const topics = [...new Set(retained.map(({ topic }) => topic))]
  connection.delivery
    .afterRetained(() => sendRetained(parts, connection, topics, since))
    .catch(thrown => logStoreFault(parts, 'retained', thrown))
}

/** Reads on only while the client takes what was read. */
async function sendRetained(
  { state, system }: BrokerParts,
  { delivery, transport }: MqttConnection,
  filters: string[],
  since: number,
): Promise<void> {
  await transport.drained()
  if (transport.isDestroyed) return
  for (const message of system.matching(filters)) delivery.retained(message, since)
  for await (const message of state.retainedOf(filters)) {
    if (transport.isDestroyed) return
    delivery.retained(message, since)
    await transport.drained()
  }
}

/** The same for a client that UNSUBSCRIBEs. The inbox stays open while another of its filters is subscribed to. */
export function unsubscribe(
  parts: BrokerParts,
  connection: MqttConnection,
  { messageId, filters }: UnsubscribePacket,
): Promise<void> | undefined {
  const finish = () => {
    if (connection.hasLeft) return
    const reasons = filters.map(filter =>
      connection.delivery.filters.remove(filter) ? REASON.SUCCESS : REASON.NO_SUBSCRIPTION_EXISTED,
    )
    connection.transport.send(connection.terms.encoder.unsuback(messageId, reasons))
    const inbox = inboxWanted(connection)
    if (inbox === undefined) connection.closeInbox()
    else if (inbox.form !== connection.inbox?.form) openInbox(parts, connection)
  }
  if (!connection.clean) return parts.state.removeSubscriptions(connection, filters).then(finish)
  finish()
  return undefined
}

/** @returns the stored filters that the session may still have; what this login may not have is removed @throws GatewayError */
export async function restoreFilters(
  parts: BrokerParts,
  connection: MqttConnection,
): Promise<readonly ReturnType<typeof fromStored>[]> {
  if (!connection.isResumed) return []
  const stored = await parts.state.subscriptionsByClient(connection)
  const lost = stored.map(({ topic }) => topic).filter(topic => !mayHave(parts, connection, topic))
  if (lost.length > 0) await parts.state.removeSubscriptions(connection, lost)
  const granted = stored
    .filter(({ topic }) => refusalOf(parts, connection, topic) === undefined)
    .map(fromStored)
  await loadCursor(parts, connection, granted)
  return granted
}
