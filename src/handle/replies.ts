/** The replies of one connection leave in the order of its requests, however the answers come. */
import { type CodeName, type GatewayError, isFixed } from '../core/errors.js'
import type { MessageTrace } from '../core/tracing.js'
import { InOrder, type Place } from '../flow/in-order.js'
import type { RequestName } from '../protocol/requests.js'
import type { Appended } from '../store/store.js'
import type { Answer } from './context.js'

export interface Outcome {
  readonly request: RequestName | 'invalid'
  readonly id: string | undefined
  readonly code: CodeName
  readonly data: unknown
  readonly trace?: MessageTrace | undefined
}

class Reply implements Answer, Outcome, Place {
  code: CodeName = 'ERROR'
  data: unknown = null
  isDecided = false
  trace: MessageTrace | undefined
  constructor(
    readonly replies: Replies<unknown>,
    readonly request: RequestName | 'invalid',
    readonly id: string | undefined,
  ) {}

  ok(code: CodeName, data: unknown = null): void {
    this.#settle(code, data)
  }

  /** A request without an id may come from an old client: such a client gets `data: null` with the codes that it knows. */
  refuse({ kind, info }: GatewayError): void {
    this.#settle(kind, this.id === undefined && isFixed(kind) ? null : info)
  }

  /** Without the `seq`: it would tell the sender how much others write to the recipient. */
  stored({ id }: Appended): void {
    this.#settle('MESSAGE_SUCCESS', this.id === undefined ? null : { id })
  }

  failed(error: GatewayError): void {
    this.refuse(error)
  }

  #settle(code: CodeName, data: unknown): void {
    if (this.isDecided) return
    this.code = code
    this.data = data
    this.isDecided = true
    this.replies.flush()
  }
}

/** One function for the replies of all connections. */
const leave = (reply: Reply): void => reply.replies.write(reply)

export class Replies<T = undefined> {
  readonly #replies = new InOrder<Reply>(leave)

  /**
   * @param to passed to `send`, so that all connections may share one function
   * @param send called once for each reply
   */
  constructor(
    private readonly send: (outcome: Outcome, to: T) => void,
    private readonly to?: T,
  ) {}

  /** Requests whose reply has not left. */
  get pending(): number {
    return this.#replies.length
  }

  /** Takes the place of the next request's reply. */
  reserve(request: RequestName | 'invalid', id: string | undefined): Answer {
    const reply = new Reply(this as Replies<unknown>, request, id)
    this.#replies.push(reply)
    return reply
  }

  /** A reply is decided. */
  flush(): void {
    this.#replies.flush()
  }

  /** The turn of a reply has come. */
  write(outcome: Outcome): void {
    this.send(outcome, this.to as T)
  }
}
