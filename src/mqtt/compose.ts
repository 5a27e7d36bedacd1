/** Makes the parts of one broker. */
import { Faults } from '../core/faults.js'
import type { KeyValue } from '../store/store.js'
import { TopicAccess } from './acl/access.js'
import { userIdOf } from './acl/client-id.js'
import { isOwnTree } from './acl/topics.js'
import { GatewayAedes } from './aedes/client.js'
import { Router } from './aedes/router.js'
import { BrokerState } from './aedes/state.js'
import { TopicStore } from './aedes/topic-store.js'
import type { Connections } from './connections.js'
import { type BrokerParts, logStoreFault } from './parts.js'
import { WriteGroup } from './wire/write-group.js'

type Given = Pick<BrokerParts, 'services' | 'metrics' | 'options'>

/** @param connections which sessions have a connection, and what it may do */
export function makeParts(given: Given, kv: KeyValue, connections: Connections): BrokerParts {
  const { services, metrics, options } = given
  const access = new TopicAccess(options.acl, options.presence)
  const router = new Router()
  const state = makeState(given, { kv, access, connections })
  const aedes = new GatewayAedes(router, {
    persistence: state,
    connectTimeout: options.connectTimeoutMs,
    maxTopicLevels: options.maxTopicLevels,
  })
  const topics = new TopicStore(aedes, state, access, {
    maxUnreleased: options.maxUnreleased,
    onTooMany: ({ closed }) => closed || services.limits.count('mqtt.maxUnreleased'),
  })
  return {
    ...given,
    faults: new Faults(services.log, metrics),
    access,
    aedes,
    router,
    state,
    topics,
    group: new WriteGroup(options.stallTimeoutMs),
    phase: { isClosing: false },
  }
}

interface StateParts {
  readonly kv: KeyValue
  readonly access: TopicAccess
  readonly connections: Connections
}

function makeState(given: Given, { kv, access, connections }: StateParts): BrokerState {
  const { services, metrics, options } = given
  return new BrokerState(kv, services.live, {
    ...options.stateLimits,
    isAllowed: (clientId, filter) =>
      access.subscribe(userIdOf(clientId), filter, connections.granteeOf(clientId)) &&
      connections.holderOf(clientId)?.filters.isRefused(filter) !== true,
    onDropped: (_clientId, count) => metrics.dropped.inc({ limit: 'mqtt.maxQueuedMessages' }, count),
    onNotRetained: limit => {
      metrics.dropped.inc({ limit })
      services.log.info({ event: 'retained.dropped', limit }, 'retained message not kept')
    },
    onError: thrown => logStoreFault(given, 'persistence', thrown),
    inboxHooks: {
      owns: isOwnTree,
      acknowledged: async (clientId, packetId) => connections.holderOf(clientId)?.acknowledged(packetId),
      released: async (clientId, packetId) => connections.holderOf(clientId)?.released(packetId),
    },
  })
}
