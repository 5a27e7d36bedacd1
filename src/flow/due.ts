/** Jobs that run together, once, when they are due. */

/** A function, or an object that has one: what lives long and waits often needs no function of its own. */
export type Job = (() => void) | { run(): void }

export class Due {
  #jobs: Job[] = []

  /** @param schedule runs what it is given once, later. Called for the first job that waits. */
  constructor(private readonly schedule: (run: () => void) => void) {}

  /** Runs `job` with all others that wait then. An exception of it is uncaught and does not stop other jobs. */
  add(job: Job): void {
    if (this.#jobs.push(job) === 1) this.schedule(this.runAll)
  }

  /** Runs those that wait now. */
  readonly runAll = (): void => {
    const jobs = this.#jobs
    this.#jobs = []
    for (const job of jobs) {
      try {
        if (typeof job === 'function') job()
        else job.run()
      } catch (thrown) {
        setImmediate(() => {
          throw thrown
        })
      }
    }
  }
}
