/** How far a long command is: one line on a terminal, written anew, and gone at the end. */

/** The part of a terminal's stream that is used. */
export interface Output {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** Between two lines, and before the first: what is done sooner shows none. */
export const EVERY_MS = 250

/** Of a terminal that does not know its own: 0, or nothing. */
const WIDTH = 80

const CLEAR = '\r\u001b[K'

export interface ProgressOptions {
  /** What is counted. Bytes are shown as MiB. */
  readonly unit: string
  /** Not to a file or a pipe, where nobody watches: then nothing is written. */
  readonly output: Output
  /** Also on a terminal, as where the reply is for a program. */
  readonly isQuiet?: boolean
  /** ms of a clock that does not go back. */
  readonly now?: () => number
}

export class Progress {
  readonly isOn: boolean
  readonly #now: () => number
  #writtenAt: number
  #isShown = false

  /** @param what the command */
  constructor(
    private readonly what: string,
    private readonly options: ProgressOptions,
  ) {
    this.isOn = options.output.isTTY === true && options.isQuiet !== true
    this.#now = options.now ?? (() => performance.now())
    this.#writtenAt = this.#now()
  }

  /** @param of how many there are; undefined: nobody knows. @param detail what the count is of, if the command counts several */
  at(done: number, of?: number, detail?: string): void {
    if (!this.isOn) return
    const now = this.#now()
    if (now - this.#writtenAt < EVERY_MS) return
    this.#writtenAt = now
    this.#isShown = true
    const { output } = this.options
    const what = detail === undefined ? this.what : `${this.what}: ${detail}`
    // One that is as wide as the terminal goes on in a second line, which is not cleared.
    const line = `${what}: ${this.#amount(done, of)}`.slice(0, (output.columns || WIDTH) - 1)
    output.write(`${CLEAR}${line}`)
  }

  /** Takes the line away: before something else is written, and at the end. */
  clear(): void {
    if (this.#isShown) this.options.output.write(CLEAR)
    this.#isShown = false
  }

  /** Looks at the size of a file that grows, until the work is done. @param size undefined: not known yet */
  async watch<T>(
    size: () => { done: number; of?: number; detail?: string } | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    if (!this.isOn) return work()
    const timer = setInterval(() => {
      const now = size()
      if (now !== undefined) this.at(now.done, now.of, now.detail)
    }, EVERY_MS)
    try {
      return await work()
    } finally {
      clearInterval(timer)
      this.clear()
    }
  }

  #amount(done: number, of: number | undefined): string {
    const { unit } = this.options
    const [name, size] = unit === 'bytes' ? ['MiB', 1 << 20] : [unit, 1]
    const count = (amount: number) => Math.floor(amount / size).toLocaleString('en')
    return of === undefined ? `${count(done)} ${name}` : `${count(done)} of ${count(of)} ${name}`
  }
}
