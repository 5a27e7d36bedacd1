/** Jobs that run together, once, when they are due. */
type Job = () => void

export class Due {
  #jobs: Job[] = []

  /** @param schedule runs what it is given once, later. Called for the first job that waits. */
  constructor(private readonly schedule: (run: () => void) => void) {}

  /** Runs `job` with all others that wait then. An exception of it is uncaught and does not stop other jobs. */
  add(job: Job): void {
    if (this.#jobs.push(job) === 1) this.schedule(this.#runAll)
  }

  readonly #runAll = (): void => {
    const jobs = this.#jobs
    this.#jobs = []
    for (const job of jobs) {
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
