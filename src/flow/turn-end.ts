import { Due, type Job } from './due.js'

/**
 * Jobs that run once at the end of an event-loop turn, after its input. System calls cost most, so what one turn writes to
 * a socket leaves in one write: each writer adds a job at its first write of a turn, and one setImmediate runs the jobs of
 * all. A turn is a few system calls and much code that is out of the processor's caches, so that at light load its number
 * is what a message costs: what answers a commit leaves in the turn of the commit (`atOnce`).
 */
export class TurnEnd extends Due {
  readonly #now = new Due(() => undefined)
  #isAtOnce = false

  constructor() {
    super(setImmediate)
  }

  override add(job: Job): void {
    if (this.#isAtOnce) this.#now.add(job)
    else super.add(job)
  }

  /** Runs `work`, and behind it the jobs that it added, instead of at the end of the turn. */
  atOnce(work: () => void): void {
    this.#isAtOnce = true
    try {
      work()
    } finally {
      this.#isAtOnce = false
      this.#now.runAll()
    }
  }
}
