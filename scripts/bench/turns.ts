/** The generator's turns: each naps, then reads what has come meanwhile and sends what is due. */

/**
 * How the generator writes and reads. `batching` naps about 0.2 ms a turn, so that messages gather, as a network card or a Go
 * program does it. `single` reads and answers at once.
 */
export type Generator = 'single' | 'batching'

export const GENERATORS: readonly Generator[] = ['single', 'batching']

const BATCHING_NAP_MS = 0.2
/** With the slack of the kernel's timers, about 0.06 ms: as close to message by message as it gets without a busy core. */
const SHORTEST_NAP_MS = 0.01

/** Never notified. */
const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** When the messages of an open loop are due: evenly spread, the senders in turn. */
export class Schedule {
  #next = 0

  /** @param begunMs time of the first message @param rate messages a second of all senders together */
  constructor(
    private readonly begunMs: number,
    private readonly rate: number,
    private readonly senders: number,
  ) {}

  /** Calls `send` for each message that has become due, with the number of its sender and the time it was due, ms. */
  due(nowMs: number, send: (sender: number, dueMs: number) => void): void {
    for (;;) {
      const dueMs = this.begunMs + (this.#next * 1000) / this.rate
      if (dueMs > nowMs) return
      send(this.#next++ % this.senders, dueMs)
    }
  }
}

/** Takes turns until the returned function is called. @param work what a turn does besides reading */
export function takeTurns(generator: Generator, work: () => void): () => void {
  const napMs = generator === 'batching' ? BATCHING_NAP_MS : SHORTEST_NAP_MS
  let next = setImmediate(turn)
  function turn() {
    Atomics.wait(sleeper, 0, 0, napMs)
    work()
    next = setImmediate(turn)
  }
  return () => clearImmediate(next)
}
