/**
 * What signals do, from the first statement of the program on. Node's own answers hold until then: SIGTERM, SIGINT and
 * SIGHUP end the process by the signal, SIGUSR1 opens the inspector. So nothing is imported here, which would take time.
 */

export interface SignalAnswers {
  /** SIGTERM or SIGINT. */
  end(signal: NodeJS.Signals): void
  /** SIGHUP. */
  reload(): void
}

/** Until `serve` has begun to start the gateway: nothing is open yet, and no certificate has been read. */
let answers: SignalAnswers = { end: () => process.exit(), reload: () => undefined }

/** @param isService what sends SIGHUP to all that it supervises means no end; a command that somebody waits for ends by it */
export function holdSignals(isService: boolean): void {
  // The inspector runs whatever code it is sent.
  process.on('SIGUSR1', () => undefined)
  if (!isService) return
  process.on('SIGTERM', signal => answers.end(signal))
  process.on('SIGINT', signal => answers.end(signal))
  process.on('SIGHUP', () => answers.reload())
}

/** From here on `mine` are the answers. */
export function answerSignals(mine: SignalAnswers): void {
  answers = mine
}
