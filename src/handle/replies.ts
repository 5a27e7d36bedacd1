/** The replies of one connection leave in the order of its requests, however the answers come. */
import { type CodeName, type GatewayError, isFixed } from '../core/errors.js'
import type { RequestName } from '../protocol/requests.js'
import type { Appended } from '../store/store.js'
import type { Answer } from './context.js'

export interface Outcome {
  readonly request: RequestName | 'invalid'
  readonly id: string | undefined
  readonly code: CodeName
  readonly data: unknown
}

class Slot implements Answer {
  outcome: Outcome | undefined
  constructor(
    private readonly replies: Replies,
    private readonly request: RequestName | 'invalid',
    private readonly id: string | undefined,
  ) {}

  ok(code: CodeName, data: unknown = null): void {
    this.#settle(code, data)
  }

  /** A request without an id may come from an old client: what such a client knows, it gets unchanged. */
  refuse({ kind, info }: GatewayError): void {
    this.#settle(kind, this.id === undefined && isFixed(kind) ? null : info)
  }

  /** Never the `seq`: it would tell the sender how much others write to the recipient. */
  stored({ id }: Appended): void {
    this.#settle('MESSAGE_SUCCESS', this.id === undefined ? null : { id })
  }

  failed(error: GatewayError): void {
    this.refuse(error)
  }

  #settle(code: CodeName, data: unknown): void {
    if (this.outcome !== undefined) return
    this.outcome = { request: this.request, id: this.id, code, data }
    this.replies.flush()
  }
}

/** Slots before this many have left are not worth a copy of the rest. */
const COMPACT_AT = 1024

export class Replies {
  #slots: Slot[] = []
  #head = 0

  constructor(private readonly write: (outcome: Outcome) => void) {}

  /** Requests whose reply has not left. */
  get pending(): number {
    return this.#slots.length - this.#head
  }

  /** The place of the next request's reply. */
  reserve(request: RequestName | 'invalid', id: string | undefined): Answer {
    const slot = new Slot(this, request, id)
    this.#slots.push(slot)
    return slot
  }

  /** Writes every reply that nothing before it holds up. */
  flush(): void {
    for (let slot = this.#slots[this.#head]; slot?.outcome !== undefined; slot = this.#slots[this.#head]) {
      this.#head++
      this.write(slot.outcome)
    }
    if (this.#head === this.#slots.length) this.#slots = []
    else if (this.#head >= COMPACT_AT) this.#slots = this.#slots.slice(this.#head)
    else return
    this.#head = 0
  }
}
