/** Syncs behind writes, one sync at a time: a write costs no wait for the disk, and a power cut no more than the last moments. */

/** Longest time from a write to the beginning of its sync, ms. */
const SYNC_DELAY_MS = 100

interface Waiter {
  resolve(): void
  reject(error: unknown): void
}

export class SyncBehind {
  #isDirty = false
  #isRunning = false
  #timer: NodeJS.Timeout | undefined
  /** Shortest delay that was asked for since the last sync began, ms. */
  #delayMs = Number.POSITIVE_INFINITY
  #waiters: Waiter[] = []
  #failure: unknown

  /**
   * @param syncOnce syncs what is written by now. `isAwaited`: somebody waits for it
   * @param failed called when the disk refused a sync: nobody can say what is on it, and no further sync is tried
   */
  constructor(
    private readonly syncOnce: (isAwaited: boolean) => Promise<void>,
    private readonly failed: (cause: unknown) => void,
    /** Called with how long a sync took, s. */
    private readonly took: (seconds: number) => void = () => undefined,
  ) {}

  /** Something was written since the last sync began. */
  get isDirty(): boolean {
    return this.#isDirty
  }

  /**
   * Something was written: it is synced within `delayMs` and the time that the disk takes, and what may wait longer at most
   * SYNC_DELAY_MS later, where it meets something that may not.
   */
  written(delayMs = SYNC_DELAY_MS): void {
    this.#isDirty = true
    if (delayMs >= this.#delayMs) return
    this.#delayMs = delayMs
    if (!this.#isRunning) this.#begin()
  }

  #begin(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#run(), this.#delayMs)
  }

  /** Resolves when all that is written by now survives a power cut. Rejects when the disk refuses, now or before. */
  synced(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure)
      this.#waiters.push({ resolve, reject })
      if (!this.#isRunning) void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    clearTimeout(this.#timer)
    this.#timer = undefined
    const waiters = this.#waiters.splice(0)
    this.#isDirty = false
    this.#delayMs = Number.POSITIVE_INFINITY
    const since = performance.now()
    try {
      await this.syncOnce(waiters.length > 0)
      this.took((performance.now() - since) / 1000)
      for (const { resolve } of waiters) resolve()
    } catch (thrown) {
      this.#failure ??= thrown
      this.failed(thrown)
      for (const { reject } of [...waiters, ...this.#waiters.splice(0)]) reject(thrown)
      return
    }
    this.#isRunning = false
    if (this.#waiters.length > 0) void this.#run()
    else if (this.#isDirty) this.#begin()
  }
}
