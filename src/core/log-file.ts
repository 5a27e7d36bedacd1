/**
 * A file that log lines are appended to, without waiting for the disk. It can be opened anew, so that logrotate may rename it.
 * pino's own destination says that it has flushed while it has not, so that the last lines before an exit were lost.
 */
import { closeSync, openSync, write } from 'node:fs'
import { lineFileFault } from './line-file.js'

/** Most bytes of lines that wait for the disk. Further lines are dropped. */
const MAX_WAITING_BYTES = 16 * 2 ** 20
const MODE = 0o600

export class LogFile {
  #file: number
  /** Closed when the write under way has ended. */
  #old: number[] = []
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #isWriting = false
  #flushed: (() => void)[] = []

  /** Makes the file, mode 0600. @param path see lineFileFault @throws the system's error if it cannot be opened */
  constructor(private readonly path: string) {
    this.#file = openSync(path, 'a', MODE)
  }

  write(line: string): void {
    const bytes = Buffer.from(line)
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) return
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    if (!this.#isWriting) this.#writeNext()
  }

  /** Calls back when all lines are written, or are lost. */
  flush(done: () => void): void {
    if (this.#isWriting) this.#flushed.push(done)
    else done()
  }

  /**
   * Lines from now on go to the file that has the path now.
   * @returns the error if there can be none: then they go on to the one before
   */
  reopen(): Error | undefined {
    const fault = lineFileFault(this.path)
    if (fault !== undefined) return new Error(fault)
    try {
      const file = openSync(this.path, 'a', MODE)
      this.#old.push(this.#file)
      this.#file = file
      if (!this.#isWriting) this.#closeOld()
      return undefined
    } catch (thrown) {
      return thrown as Error
    }
  }

  #writeNext(): void {
    const bytes = Buffer.concat(this.#waiting)
    this.#waiting = []
    this.#waitingBytes = 0
    this.#isWriting = true
    this.#append(bytes)
  }

  #append(bytes: Buffer): void {
    write(this.#file, bytes, (error, written) => {
      // Where the disk is full lines are lost, and the next ones are tried.
      if (error === null && written < bytes.length) {
        this.#append(bytes.subarray(written))
        return
      }
      this.#isWriting = false
      this.#closeOld()
      if (this.#waiting.length > 0) this.#writeNext()
      else for (const done of this.#flushed.splice(0)) done()
    })
  }

  #closeOld(): void {
    for (const file of this.#old.splice(0)) closeSync(file)
  }
}
