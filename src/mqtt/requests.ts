/**
 * Requests over MQTT: PUBLISH to `users/<me>/requests`, replies on `users/<me>/replies`. The requests are those of the
 * JSON front end, and handle/ decides who may make them.
 */
import { CODES } from '../core/errors.js'
import { Serial } from '../flow/serial.js'
import { handle } from '../handle/index.js'
import { refuse } from '../handle/refuse.js'
import { type Outcome, Replies } from '../handle/replies.js'
import { decodeText } from '../protocol/mqtt-payload.js'
import { parseRequest, RefusedRequest } from '../protocol/requests.js'
import type { BrokerParts } from './parts.js'
import { type Asker, answer } from './replies.js'

/** The requests of one connection: one after the other, and their replies in the same order. */
export class Requests {
  readonly #replies = new Replies(outcome => this.#reply(outcome))
  /** Acknowledgements of the requests whose replies have not gone out, in order. */
  readonly #acknowledgements: ((error?: Error | null) => void)[] = []
  readonly #running = new Serial()

  constructor(
    private readonly parts: BrokerParts,
    private readonly asker: Asker,
  ) {}

  /** @param done acknowledges the PUBLISH; called behind the reply, so that a client is never further than its replies */
  take(payload: Buffer | string, done: () => void): void {
    const { services } = this.parts
    this.#acknowledgements.push(done)
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
    answer(this.asker, code, data, id)
    this.#acknowledgements.shift()?.()
  }
}
