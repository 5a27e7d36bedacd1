/** What the command files (connect, subscribe, publish, wills) share: the parts of one broker, made in compose.ts. */
import { toGatewayError } from '../core/errors.js'
import type { Faults } from '../core/faults.js'
import type { Metrics } from '../core/metrics.js'
import type { Services } from '../handle/services.js'
import type { TopicAccess } from './acl/access.js'
import type { BrokerOptions } from './options.js'
import type { DeliveryRules } from './routing/delivery-rules.js'
import type { Router } from './routing/router.js'
import type { BrokerState } from './routing/state.js'
import type { TopicStore } from './routing/topic-store.js'
import type { SystemTopics } from './system-topics.js'
import type { PacerRules, TransportOptions } from './wire/transport.js'

export interface BrokerParts {
  readonly services: Services
  readonly metrics: Metrics
  readonly options: BrokerOptions
  readonly faults: Faults
  /** Who may publish and subscribe where. */
  readonly access: TopicAccess
  /** What all deliveries of packets share. */
  readonly delivery: DeliveryRules
  /** Which connections a packet goes to. */
  readonly router: Router
  /** Sessions, subscriptions, queues, retained messages and wills, over the store. */
  readonly state: BrokerState
  /** Stores and routes what is published to topics outside `users/`. */
  readonly topics: TopicStore
  /** What the broker counts, and the topics that tell it. */
  readonly system: SystemTopics
  /** What all transports share, and all pacers. */
  readonly transport: TransportOptions
  readonly pacing: PacerRules
  /** `isClosing`: the gateway closes, and no PUBLISH is accepted any more. */
  readonly phase: { isClosing: boolean }
}

/** Logs that the store failed in work whose result no client waits for. @param operation its name in the log */
export function logStoreFault(
  { services }: Pick<BrokerParts, 'services'>,
  operation: string,
  thrown: unknown,
) {
  services.log.error(
    { event: 'store.failed', operation, err: toGatewayError(thrown) },
    'broker state not written',
  )
}
