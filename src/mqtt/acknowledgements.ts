/** Acknowledgements of PUBLISH: in order, and only after what they promise is stored. */
import { CODES, type CodeName, GatewayError } from '../core/errors.js'
import type { Metrics } from '../core/metrics.js'
import type { MessageTrace } from '../core/tracing.js'
import { InOrder, type Place } from '../flow/in-order.js'
import type { StoreWaiter } from '../inbox/inbox.js'

/** Who has sent a PUBLISH, and is told what became of it. */
export interface Sender {
  readonly metrics: Pick<Metrics, 'answered'>
  /** Called once. */
  published(receipt: Receipt): void
}

/**
 * Of one PUBLISH, from its arrival to its acknowledgement: the only object that is made for that. Holds no reference to the
 * packet, since thousands may wait for their commit.
 */
export class Receipt implements Place, StoreWaiter {
  isDecided = false
  /** The packet is not acknowledged, and the connection closes. */
  error: Error | null = null
  /** Reason code of the acknowledgement (MQTT 5, 3.4.2.1), or the error for which the packet was refused. */
  reason: number | CodeName | undefined
  /** The reason in words. */
  why: string | undefined
  /** Its place among other acknowledgements; undefined at QoS 0, which has none. */
  order: Acknowledgements | undefined
  /** QoS 2: called in place of the acknowledgement, which it makes when the packet id is stored. */
  recorder: ((receipt: Receipt) => void) | undefined

  trace: MessageTrace | undefined

  /** @param bytes length of the packet */
  constructor(
    readonly sender: Sender,
    readonly qos: number,
    readonly messageId: number | undefined,
    readonly bytes: number,
  ) {}

  /** To be called once. Without anything: the packet is acknowledged. */
  settle(error: Error | null = null, reason?: number | CodeName, why?: string): void {
    this.error = error
    this.reason = reason
    this.why = why
    const { recorder } = this
    if (recorder === undefined) this.leave()
    else {
      this.recorder = undefined
      recorder(this)
    }
  }

  /** The acknowledgement goes out when those before it have. */
  leave(): void {
    this.isDecided = true
    this.trace?.ended(this.#outcome)
    if (this.order === undefined) this.sender.published(this)
    else this.order.flush()
  }

  get #outcome(): string {
    if (this.error !== null) return this.error instanceof GatewayError ? this.error.kind : 'ERROR'
    return typeof this.reason === 'string' ? this.reason : 'SUCCESS'
  }

  stored(): void {
    this.sender.metrics.answered('mqtt', 'message', CODES.MESSAGE_SUCCESS.code)
    this.settle()
  }

  failed(error: GatewayError): void {
    this.sender.metrics.answered('mqtt', 'message', error.number)
    // The recipient was deleted meanwhile. A resend would fail, too, so the message is acknowledged.
    this.settle(error.kind === 'ERROR_FIND_USER' ? null : error)
  }
}

/** Lets PUBACKs and PUBRECs go in the order of their PUBLISHes [MQTT-4.6.0-2], [MQTT-4.6.0-3]. */
export class Acknowledgements extends InOrder<Receipt> {
  constructor() {
    super(publish)
  }

  /** The receipt waits for those that came before. */
  reserve(receipt: Receipt): void {
    receipt.order = this
    this.push(receipt)
  }
}

const publish = (receipt: Receipt): void => receipt.sender.published(receipt)
