/** Which form of its inbox a session gets, and at which QoS. */
import t from 'tap'
import type { MqttConnection } from '../../src/mqtt/connection.js'
import { inboxWanted } from '../../src/mqtt/open-inbox.js'
import { ClientFilters } from '../../src/mqtt/routing/client-filters.js'
import { Router, type SubscriptionOptions } from '../../src/mqtt/routing/router.js'

const ME = '100000001'
const INBOX = `users/${ME}/inbox`

/** Those of a session whose filters were granted so. */
function filtersOf(granted: Record<string, number>): ClientFilters {
  const filters = new ClientFilters(new Router(), { id: 'x' } as never)
  for (const [filter, qos] of Object.entries(granted)) filters.add(filter, { qos } as SubscriptionOptions)
  return filters
}

const subscribed = (granted: Record<string, number>, userId: string | undefined = ME) =>
  inboxWanted({
    userId,
    delivery: { filters: filtersOf(granted) },
  } as unknown as MqttConnection)

t.test('JSON goes before the content alone, and the highest QoS counts', async t => {
  t.equal(subscribed({}), undefined)
  t.equal(subscribed({ 'a/b': 1 }), undefined)
  t.equal(subscribed({ [`${INBOX}/#`]: 1 }, ''), undefined, 'another account’s')
  t.same(subscribed({ [`${INBOX}/#`]: 0 }), { form: 'json', qos: 0 })
  t.same(subscribed({ [`${INBOX}/#`]: 0, [`${INBOX}/+`]: 2 }), { form: 'json', qos: 2 })
  t.same(subscribed({ [`${INBOX}/+/content`]: 1 }), { form: 'content', qos: 1 })
  t.same(subscribed({ [`${INBOX}/+/content`]: 2, [`${INBOX}/#`]: 0 }), { form: 'json', qos: 0 })
})
