/** Unexpected exceptions of handlers: each closes its connection and is logged, and none ends the process. */
import type { Logger } from './log.js'
import type { Metrics } from './metrics.js'

/**
 * Reports an exception.
 * @param where name of the handler, one of a small fixed set: it is a label of the metric
 */
export type OnFault = (where: string, thrown: unknown) => void

/** Calls of one connection that must not throw: an exception is reported, and the connection is cut off. */
export interface Fuse {
  /** @param where see OnFault */
  fault(where: string, thrown: unknown): void
}

export class Faults {
  constructor(
    private readonly log: Logger,
    private readonly metrics: Metrics,
  ) {}

  readonly report: OnFault = (where, err) => {
    this.metrics.faults.inc({ where })
    this.log.error({ event: 'handler.failed', where, err }, 'a handler failed, its connection is closed')
  }

  /**
   * The last resort for exceptions that no handler caught (`uncaughtException`, which includes unhandled rejections).
   * The connection that caused it is unknown, so none is closed, and a request may stay without an answer. Stored data
   * is consistent because each commit is one transaction. The process goes on, since ending it would let an attacker
   * stop the gateway; the log line is `fatal` so that the operator can restart it at a suitable time.
   */
  reportUnknown(err: unknown): void {
    this.metrics.faults.inc({ where: 'process' })
    this.log.fatal(
      { event: 'process.failed', err },
      'uncaught exception; the state of what was under way is unknown, the gateway goes on',
    )
  }
}

/** Wraps `handler` so that it does not throw: an exception is passed to `onFault`, and then `end` is called. */
export function guarded<A extends unknown[]>(
  where: string,
  { onFault, end }: { readonly onFault: OnFault; readonly end: () => void },
  handler: (...args: A) => void,
): (...args: A) => void {
  return (...args) => {
    try {
      handler(...args)
    } catch (thrown) {
      onFault(where, thrown)
      end()
    }
  }
}
