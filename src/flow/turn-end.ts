import { Due } from './due.js'

/**
 * Jobs that run once at the end of an event-loop turn, after its input. System calls cost most, so what one turn writes to
 * a socket leaves in one write: each writer adds a job at its first write of a turn, and one setImmediate runs the jobs of
 * all.
 */
export class TurnEnd extends Due {
  constructor() {
    super(setImmediate)
  }
}
