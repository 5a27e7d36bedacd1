import { Due } from './due.js'

/** Jobs that may wait a little: one timer runs those of all. It keeps no process alive. */
export class Later extends Due {
  /** @param delayMs longest time that a job waits, ms */
  constructor(delayMs: number) {
    super(run => setTimeout(run, delayMs).unref())
  }
}
