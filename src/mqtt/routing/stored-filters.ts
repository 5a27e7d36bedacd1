/** Subscriptions in the names that the persistence has for their options. */
import type { FilterRequest } from '../wire/decode.js'
import type { QoS } from '../wire/packet-types.js'
import type { Subscription } from './persistence/subscriptions.js'
import type { SubscriptionOptions } from './router.js'

/** What is absent is not stored. */
export const asStored = (
  { topic, qos, noLocal, retainAsPublished, retainHandling }: FilterRequest,
  subscriptionIdentifier: number | undefined,
): Subscription => ({
  topic,
  qos,
  ...(noLocal ? { nl: true } : {}),
  ...(retainAsPublished ? { rap: true } : {}),
  ...(retainHandling ? { rh: retainHandling } : {}),
  ...(subscriptionIdentifier === undefined ? {} : { subscriptionIdentifier }),
})

export const fromStored = ({
  topic,
  qos,
  nl = false,
  rap = false,
  subscriptionIdentifier,
}: Subscription): SubscriptionOptions & { readonly topic: string } => ({
  topic,
  qos: qos as QoS,
  noLocal: nl,
  retainAsPublished: rap,
  subscriptionIdentifier,
})
