/** Makes the parts of one broker. */
import { Faults } from '../core/faults.js'
import type { KeyValue } from '../store/store.js'
import { TopicAccess } from './acl/access.js'
import type { Connections } from './connections.js'
import { type BrokerParts, logStoreFault } from './parts.js'
import type { DeliveryRules } from './routing/delivery-rules.js'
import { Router } from './routing/router.js'
import { BrokerState } from './routing/state.js'
import { TopicStore } from './routing/topic-store.js'
import { SystemTopics } from './system-topics.js'
import { WriteGroup } from './wire/write-group.js'

/** To find so many filters with wildcards, and who gets the packet by them, costs about as much as a request. */
const FILTERS_PER_REQUEST = 50

type Given = Pick<BrokerParts, 'services' | 'metrics' | 'options'>

/** @param connections which sessions have a connection, and what it may do */
export function makeParts(given: Given, kv: KeyValue, connections: Connections): BrokerParts {
  const { services, metrics, options } = given
  const access = new TopicAccess(options.acl, options.presence)
  const router = new Router()
  const state = makeState(given, kv, connections)
  const topics = new TopicStore(router, state, access, {
    maxUnreleased: options.maxUnreleased,
    onTooMany: ({ closed }) => closed || services.limits.count('mqtt.maxUnreleased'),
    onCopies: (owner, bytes) => void services.limits.traffic(owner).broadcast.borrow(bytes),
    onMatched: (owner, filters) => {
      if (filters >= FILTERS_PER_REQUEST)
        services.limits.accountRate(owner).borrow(filters / FILTERS_PER_REQUEST)
    },
  })
  const faults = new Faults(services.log, metrics)
  const system = new SystemTopics({ router, state, connections })
  const { traffic } = system
  return {
    ...given,
    system,
    faults,
    access,
    router,
    state,
    topics,
    delivery: deliveryRules(given, { router, state, topics }),
    transport: {
      limits: options,
      maxBufferedBytes: options.maxBufferedBytes,
      group: new WriteGroup(options.stallTimeoutMs, services.inbox.turnEnd),
      traffic,
      onFault: faults.report,
    },
    pacing: {
      bytesPerRequest: options.bytesPerRequest,
      traffic,
      onUnsolicited: count => metrics.refusedPackets.inc({ reason: 'unsolicited' }, count),
    },
    phase: { isClosing: false },
  }
}

function deliveryRules(
  { metrics, options }: Given,
  { router, state, topics }: Pick<BrokerParts, 'router' | 'state' | 'topics'>,
): DeliveryRules {
  const { outgoing } = state
  return {
    router,
    isStreamed: (client, packet) => outgoing.isStreamed(client, packet),
    recordId: (client, packet) => outgoing.update(client, packet),
    forgetId: ({ id }, { messageId }) => outgoing.acknowledged(id, messageId),
    enqueue: ({ id: clientId }, packet, qos) => topics.enqueue(packet, { clientId, qos }),
    isInFlight: ({ id }, messageId) => outgoing.isInFlight(id, messageId),
    onSkipped: limit => metrics.dropped.inc({ limit }),
    maxHeldBytes: options.maxBufferedBytes,
  }
}

function makeState(given: Given, kv: KeyValue, connections: Connections): BrokerState {
  const { services, metrics, options } = given
  return new BrokerState(kv, services.live, {
    ...options.stateLimits,
    isConnected: clientId => connections.holderOf(clientId) !== undefined,
    onDropped: (_clientId, count) => metrics.dropped.inc({ limit: 'mqtt.maxQueuedMessages' }, count),
    onNotRetained: limit => {
      metrics.dropped.inc({ limit })
      services.log.info({ event: 'retained.dropped', limit }, 'retained message not kept')
    },
    onError: thrown => logStoreFault(given, 'persistence', thrown),
    onDamaged: (collection, key) =>
      services.log.error(
        // Of a queue the key begins with the client id, which names the session.
        { event: 'store.row-damaged', collection, key, ...(collection === 'queue' && { session: key[0] }) },
        'a stored row cannot be read and is passed over; stop the gateway and run `mumi verify`',
      ),
  })
}
