/** Jobs that may wait a little: one timer runs those of all. */

type Job = () => void

export class Later {
  #due: Job[] = []

  /** @param delayMs longest time that a job waits, ms */
  constructor(private readonly delayMs: number) {}

  /** Runs `job` within the delay, with all others that wait then. It must not throw. Keeps no process alive. */
  add(job: Job): void {
    if (this.#due.push(job) === 1) setTimeout(this.#runDue, this.delayMs).unref()
  }

  readonly #runDue = (): void => {
    const due = this.#due
    this.#due = []
    for (const job of due) job()
  }
}
