/** A job that runs once at the end of an event-loop turn. */
type Job = () => void

/**
 * System calls cost most, so what one turn writes to a socket leaves in one write: each writer adds a job at its first
 * write of a turn, and one setImmediate runs the jobs of all.
 */
export class TurnEnd {
  #due: Job[] = []

  /** Runs `job` after this turn's input. An exception of it is uncaught and does not stop other jobs. */
  add(job: Job): void {
    if (this.#due.push(job) === 1) setImmediate(this.#runDue)
  }

  readonly #runDue = (): void => {
    const due = this.#due
    this.#due = []
    for (const job of due) {
      try {
        job()
      } catch (thrown) {
        setImmediate(() => {
          throw thrown
        })
      }
    }
  }
}
