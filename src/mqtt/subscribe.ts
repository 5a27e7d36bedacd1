/**
 * SUBSCRIBE and UNSUBSCRIBE. For each filter Aedes asks `authorizeSubscribe`, stores what is granted and, when all are
 * decided, calls `subscribed`. What is subscribed of the inbox is delivered by an InboxReader, not by Aedes.
 */
import { toGatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { InboxReader } from '../inbox/reader.js'
import { inboxFilters, isInboxFilter } from './acl/topics.js'
import type { Subscription } from './aedes/types.js'
import type { MqttConnection } from './connection.js'
import { InboxDelivery } from './inbox-delivery.js'
import type { BrokerParts } from './parts.js'
import type { QoS } from './wire/packet-types.js'
import { REFUSED_FILTER, subackOf } from './wire/suback.js'

type Decided = (error: Error | null, granted: Subscription | null) => void

/**
 * Decides on one filter, of a SUBSCRIBE or of a restored session: its rights by the ACL (acl/access.ts), then the limit
 * on filters. Decides in the same turn where it can: the next packet may be the UNSUBSCRIBE.
 * @param done called with null if the filter is refused (0x80 in SUBACK), with an error if the store failed
 */
export function authorizeSubscribe(
  parts: BrokerParts,
  connection: MqttConnection,
  { topic, qos }: Subscription,
  done: Decided,
): void {
  const mayRead = parts.access.subscribe(connection.userId, topic, connection.grantee)
  if (!mayRead || !isWithinLimit(parts, connection, topic)) {
    done(null, null)
    return
  }
  const { userId } = connection
  if (userId === undefined || !isInboxFilter(topic, userId)) {
    done(null, { topic, qos })
    return
  }
  // SUBACK promises all that is stored from now on, so that the device's cursor is durable before it goes out.
  parts.services.inbox.cursors.load(userId, connection.device).then(
    () => done(null, { topic, qos }),
    thrown => done(toGatewayError(thrown), null),
  )
}

function isWithinLimit({ services }: BrokerParts, connection: MqttConnection, filter: string): boolean {
  const { filters } = connection
  if (filters.admit(filter)) return true
  services.limits.count('mqtt.maxSubscriptions')
  if (filters.isIgnored) connection.end('OVER_LIMITS')
  return false
}

/** All filters of a SUBSCRIBE are decided and stored. */
export function subscribed(
  parts: BrokerParts,
  connection: MqttConnection,
  granted: readonly Subscription[],
): void {
  const { userId, transport } = connection
  const count = granted.filter(({ qos }) => (qos as number) === REFUSED_FILTER).length
  if (count > 0) parts.services.log.info({ event: 'subscribe.refused', userId, count }, 'filters refused')
  const suback = subackOf(granted)
  if (suback !== undefined) transport.send(suback)
  const isOfInbox = ({ topic, qos }: Subscription) =>
    userId !== undefined && (qos as number) !== REFUSED_FILTER && isInboxFilter(topic, userId)
  if (granted.some(isOfInbox)) openInbox(parts, connection)
}

/** The inbox stays open while another of its filters is subscribed to. */
export function unsubscribed(connection: MqttConnection, filters: readonly string[]): void {
  connection.filters.remove(filters)
  if (connection.userId !== undefined && inboxQoS(connection, connection.userId) === undefined)
    connection.closeInbox()
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
function inboxQoS({ client }: MqttConnection, userId: UserId): QoS | undefined {
  const granted = inboxFilters(userId).map(filter => client.subscriptions[filter]?.qos ?? -1)
  const highest = Math.max(...granted)
  return highest < 0 ? undefined : (highest as QoS)
}
