/** Makes the requests of an operation by the door of all front ends, and refuses what does not get there. */
import { CODES, GatewayError, toGatewayError } from '../core/errors.js'
import type { Metrics } from '../core/metrics.js'
import type { Answer } from '../handle/context.js'
import { handle } from '../handle/index.js'
import { refuse } from '../handle/refuse.js'
import type { HandlerRules, Services } from '../handle/services.js'
import { makeRequest, parseFields, type Request, type RequestName } from '../protocol/requests.js'
import type { RestCaller } from './caller.js'
import type { Done, Values } from './operation.js'
import { Refused } from './problem.js'

/** Unknown members are refused whatever the config says for JSON clients: there are no old ones of this API. */
const strict = (rules: HandlerRules): HandlerRules => ({ ...rules, unknownFields: 'refuse' })

export class Door {
  constructor(
    private readonly services: Services,
    private readonly metrics: Pick<Metrics, 'answered'>,
  ) {}

  /** @throws GatewayError BAD_JSON */
  parse(json: string): Values {
    return parseFields(json, this.services.rules)
  }

  /** @throws Refused */
  async ask(caller: RestCaller, name: RequestName, data: Values, id?: string): Promise<Done> {
    const request = makeRequest(name, { ...data }, id, strict(this.services.rules))
    const done = await this.#answered(caller, request)
    this.metrics.answered('rest', name, CODES[done instanceof GatewayError ? done.kind : done.code].code)
    if (done instanceof GatewayError) throw new Refused(done)
    return done
  }

  /** @returns how a request is refused that did not pass the door: it is logged and counted as those that did are */
  refused(caller: RestCaller, request: RequestName | 'invalid', thrown: unknown): GatewayError {
    if (thrown instanceof Refused) return thrown.error
    const answer = answerBy(() => undefined)
    refuse(this.services.log, { request, caller, answer }, thrown)
    const error = toGatewayError(thrown)
    this.metrics.answered('rest', request, error.number)
    return error
  }

  #answered(caller: RestCaller, request: Request): Promise<Done | GatewayError> {
    return new Promise(resolve => {
      const answer = answerBy(resolve)
      if (request.name === 'message' || request.name === 'broadcast')
        answer.trace = this.services.inbox.tracing?.begin(
          request.name,
          'rest',
          performance.now(),
          () => caller.traceParent,
        )
      void handle(this.services, caller, request, answer)
    })
  }
}

function answerBy(resolve: (done: Done | GatewayError) => void): Answer {
  const answer: Answer = {
    ok: (code, data = null) => {
      answer.trace?.ended(code)
      resolve({ code, data })
    },
    refuse: error => {
      answer.trace?.ended(error.kind)
      resolve(error)
    },
    failed: error => answer.refuse(error),
    // Without the `seq`, as over WebSocket.
    stored: ({ id }) => answer.ok('MESSAGE_SUCCESS', { id }),
  }
  return answer
}
