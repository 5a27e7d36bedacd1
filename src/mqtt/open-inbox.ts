/** Which form of its inbox a session is subscribed to, and the beginning of its delivery. */
import { toGatewayError } from '../core/errors.js'
import { InboxReader } from '../inbox/reader.js'
import { type InboxForm, inboxFilters } from './acl/topics.js'
import type { MqttConnection } from './connection.js'
import { InboxDelivery } from './inbox-delivery.js'
import type { BrokerParts } from './parts.js'
import type { QoS } from './wire/packet-types.js'

interface Wanted {
  readonly form: InboxForm
  readonly qos: QoS
}

/** JSON where the session is subscribed to both forms. @returns undefined where it is to none */
export const inboxWanted = (connection: MqttConnection): Wanted | undefined =>
  inForm(connection, 'json') ?? inForm(connection, 'content')

/** At the highest QoS of the filters. */
function inForm({ userId, delivery }: MqttConnection, form: InboxForm): Wanted | undefined {
  if (userId === undefined) return undefined
  const qos = delivery.filters.highestOf(inboxFilters(userId, form))
  return qos === undefined ? undefined : { form, qos }
}

/**
 * Begins to deliver the inbox where the session is subscribed to it. What the device has not confirmed comes (again),
 * oldest first. A SUBSCRIBE that changes nothing, as clients send it whose session was restored, does not begin anew: its
 * messages are on the way already.
 */
export function openInbox(parts: BrokerParts, connection: MqttConnection): void {
  const { userId, transport, device, isResumed } = connection
  if (userId === undefined || connection.hasLeft) return
  const wanted = inboxWanted(connection)
  if (wanted?.qos === connection.inbox?.qos && wanted?.form === connection.inbox?.form) return
  connection.closeInbox()
  if (wanted === undefined) return
  const { services, metrics, options } = parts
  const { terms, delivery } = connection
  const filters = inboxFilters(userId, wanted.form)
  const identifiers = filters.flatMap(filter => delivery.filters.identifier(filter) ?? [])
  const subscriptionIdentifiers = identifiers.length > 0 ? identifiers : undefined
  const { qos, form } = wanted
  const { files } = services
  // Named one by one: a spread would give each connection a hidden class of its own.
  const about = { userId, qos, form, terms, subscriptionIdentifiers, isResumed, files, asker: connection }
  const inbox = new InboxDelivery(transport, about)
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
