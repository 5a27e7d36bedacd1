/**
 * Signal handlers, installed by the first statement of the program. Until then Node's defaults apply: SIGTERM, SIGINT
 * and SIGHUP end the process, and SIGUSR1 opens the inspector. So this file imports nothing, which would take time.
 */

export interface SignalAnswers {
  /** SIGTERM or SIGINT. */
  end(signal: NodeJS.Signals): void
  /** SIGHUP. */
  reload(): void
}

/** The handlers until `serve` starts the gateway: nothing is open yet, and no certificate has been read. */
let answers: SignalAnswers = { end: () => process.exit(), reload: () => undefined }

/**
 * Ignores SIGUSR1, and handles SIGTERM, SIGINT and SIGHUP if `isService`.
 * @param isService true for `serve`; other commands keep Node's defaults and end by the signal
 */
export function holdSignals(isService: boolean): void {
  // Node's inspector would run any code that is sent to it.
  process.on('SIGUSR1', () => undefined)
  if (!isService) return
  process.on('SIGTERM', signal => answers.end(signal))
  process.on('SIGINT', signal => answers.end(signal))
  process.on('SIGHUP', () => answers.reload())
}

/** Replaces the handlers. */
export function answerSignals(mine: SignalAnswers): void {
  answers = mine
}
