/** What a handler throws that it should not: it costs the connection whose it is and a log line, never the process. */
import type { Logger } from './log.js'
import type { Metrics } from './metrics.js'

/** Told of what was thrown. @param where the handler, one of few names: the metric counts by it */
export type OnFault = (where: string, thrown: unknown) => void

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
   * The last net, for what no handler's own caught (uncaughtException, which is also where rejections that nobody
   * handles come). Whose it was is not known, so nothing can be closed for it: a request may stay without an answer. What
   * is stored is not in doubt, since a commit is one transaction, so the process goes on: to end it is what an attacker
   * would want. The line is fatal, for the operator to restart at a time of his own.
   */
  reportUnknown(err: unknown): void {
    this.metrics.faults.inc({ where: 'process' })
    this.log.fatal(
      { event: 'process.failed', err },
      'uncaught exception; the state of what was under way is unknown, the gateway goes on',
    )
  }
}

/** `handler` that does not throw: what it throws is told to `onFault`, and then `end` is called. */
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
