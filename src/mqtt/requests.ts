/**
 * Requests over MQTT: PUBLISH to `users/<me>/requests`, replies on `users/<me>/replies`. The requests are those of the
 * JSON front end, and handle/ decides who may make them.
 */
import { CODES, GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { Serial } from '../flow/serial.js'
import { handle } from '../handle/index.js'
import { refuse } from '../handle/refuse.js'
import { type Outcome, Replies } from '../handle/replies.js'
import { parseRequest, RefusedRequest } from '../protocol/requests.js'
import { isRepliesTopic } from './acl/topics.js'
import type { BrokerParts } from './parts.js'
import { decodeText } from './payload.js'
import { type Asker, answer, type ReplyTo } from './replies.js'
import type { PublishPacket } from './wire/decode.js'

/** The requests of one connection: one after the other, and their replies in the same order. */
export class Requests {
  readonly #replies = new Replies(outcome => this.#reply(outcome))
  /** Of the requests whose replies have not gone out, in order. */
  readonly #waiting: { readonly done: () => void; readonly to: ReplyTo | undefined }[] = []
  readonly #running = new Serial()

  constructor(
    private readonly parts: BrokerParts,
    private readonly asker: Asker,
  ) {}

  /**
   * @param done acknowledges the PUBLISH; called behind the reply, so that a client is never further than its replies
   * @throws GatewayError FORBIDDEN if the reply is not to go to a topic of the user: nothing is done
   */
  take(packet: PublishPacket, done: () => void): void {
    const { services } = this.parts
    const { payload } = packet
    const to = replyTo(packet, this.asker.userId)
    this.#waiting.push({ done: () => done(), to })
    try {
      const request = parseRequest(decodeText(payload), services.rules)
      const place = this.#replies.reserve(request.name, request.id)
      void this.#running.run(() => handle(services, this.asker, request, place))
    } catch (thrown) {
      const id = thrown instanceof RefusedRequest ? thrown.id : undefined
      const place = this.#replies.reserve('invalid', id)
      refuse(services.log, { request: 'invalid', caller: this.asker, answer: place }, thrown)
    }
  }

  #reply({ request, id, code, data }: Outcome): void {
    this.parts.metrics.answered('mqtt', request, CODES[code].code)
    const { done, to } = this.#waiting.shift() ?? {}
    answer(this.asker, code, data, id, to)
    done?.()
  }
}

/** @returns undefined: the reply goes out on the reply topic */
function replyTo({ properties = {} }: PublishPacket, userId: UserId | undefined): ReplyTo | undefined {
  const { responseTopic: topic, correlationData } = properties
  if (topic === undefined) return undefined
  if (userId === undefined || !isRepliesTopic(topic, userId))
    throw new GatewayError('FORBIDDEN', { field: 'responseTopic', reason: 'is not below your reply topic' })
  // Copied: it is a part of what was read.
  return { topic, correlationData: correlationData && Buffer.from(correlationData) }
}
