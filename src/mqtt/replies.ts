/** Replies and events over MQTT, on `users/<me>/replies`, and who gets them. */
import type { CodeName } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import type { Caller } from '../handle/context.js'
import { encodeReply } from '../protocol/replies.js'
import { repliesFilters, repliesTopic } from './acl/topics.js'
import type { ClientDelivery } from './routing/delivery.js'
import { makePacket } from './routing/packet.js'
import type { Receiver } from './routing/topic-store.js'
import type { StoredWill } from './stored-will.js'
import { encodeProperties } from './wire/property-block.js'
import type { Terms } from './wire/terms.js'

/** A connection that makes requests and gets replies. */
export interface Asker extends Caller, Receiver {
  readonly will: StoredWill | undefined
  readonly terms: Terms
  /** @param to undefined: on the connection's reply topic */
  tell(reply: string, to?: ReplyTo): void
}

/** What a request of MQTT 5 says of its reply. */
export interface ReplyTo {
  /** Response topic: below the reply topic of the user. */
  readonly topic: string
  readonly correlationData: Uint8Array | undefined
}

/** Answers a request, or refuses a PUBLISH, in the client's language. @param id the request's own, if it has one */
export function answer(asker: Asker, code: CodeName, data: unknown, id?: string, to?: ReplyTo): void {
  asker.tell(encodeReply(code, asker.locale, data, id), to)
}

/**
 * A reply is for this connection alone, so it passes neither the router nor the store. It is lost where the client is not
 * subscribed to its reply topic, or is gone.
 */
export function tellReply(delivery: ClientDelivery, userId: UserId, reply: string, to?: ReplyTo): void {
  if (to === undefined) delivery.tell(makePacket(repliesTopic(userId), reply, 1), repliesFilters(userId))
  else {
    const { topic, correlationData } = to
    const block = correlationData && { block: encodeProperties({ correlationData }) }
    delivery.tell({ ...makePacket(topic, reply, 1), ...block })
  }
}
