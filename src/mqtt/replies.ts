/** Replies and events over MQTT, on `users/<me>/replies`, and who gets them. */
import type { CodeName } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import type { Caller } from '../handle/context.js'
import { encodeReply } from '../protocol/replies.js'
import { repliesTopic } from './acl/topics.js'
import type { ClientDelivery } from './routing/delivery.js'
import { makePacket } from './routing/packet.js'
import type { Receiver } from './routing/topic-store.js'
import type { StoredWill } from './stored-will.js'

/** A connection that makes requests and gets replies. */
export interface Asker extends Caller, Receiver {
  readonly will: StoredWill | undefined
  /** Sends a reply on the connection's reply topic. */
  tell(reply: string): void
}

/** Answers a request, or refuses a PUBLISH, in the client's language. @param id the request's own, if it has one */
export function answer(asker: Asker, code: CodeName, data: unknown, id?: string): void {
  asker.tell(encodeReply(code, asker.locale, data, id))
}

/**
 * A reply is for this connection alone, so it passes neither the router nor the store. It is lost where the client is not
 * subscribed to its reply topic, or is gone.
 */
export function tellReply(delivery: ClientDelivery, userId: UserId, reply: string): void {
  delivery.tell(makePacket(repliesTopic(userId), reply, 1))
}
