/**
 * Jobs that many may have at once, such as the logins of all clients behind a restart: a few of them in each turn of the
 * event loop, in the order in which they came, so that whoever is served already waits for no more than these few.
 */
import type { Job } from './due.js'

export class Turnstile {
  #waiting: Job[] = []
  /** Where in `waiting` the next one is. */
  #next = 0
  /** Those that passed in this turn. */
  #passed = 0
  #isDue = false

  /** @param perTurn most that pass in one turn */
  constructor(private readonly perTurn: number) {}

  /** Whether a job may be done now; if so, it counts. If not, `add` it. */
  passes(): boolean {
    if (this.#passed >= this.perTurn || this.#next < this.#waiting.length) return false
    this.#count()
    return true
  }

  /** Done when its turn comes. An exception of it is uncaught and does not stop other jobs. */
  add(job: Job): void {
    this.#waiting.push(job)
    this.#wake()
  }

  /** Done now, or when its turn comes. */
  enter(job: () => void): void {
    if (this.passes()) job()
    else this.add(job)
  }

  #count(): void {
    this.#passed++
    this.#wake()
  }

  #wake(): void {
    if (this.#isDue) return
    this.#isDue = true
    setImmediate(this.#turnEnded)
  }

  readonly #turnEnded = (): void => {
    this.#isDue = false
    this.#passed = 0
    while (this.#passed < this.perTurn && this.#next < this.#waiting.length) {
      const job = this.#waiting[this.#next++] as Job
      this.#count()
      run(job)
    }
    if (this.#next < this.#waiting.length) return
    this.#waiting = []
    this.#next = 0
  }
}

function run(job: Job): void {
  try {
    if (typeof job === 'function') job()
    else job.run()
  } catch (thrown) {
    setImmediate(() => {
      throw thrown
    })
  }
}
