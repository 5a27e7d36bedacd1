/** Finds out that a client has been silent for too long [MQTT-3.1.2-24]. */

export class SilenceWatch {
  #heardAt = 0
  #timer: NodeJS.Timeout | undefined

  /**
   * @param maxMs longest silence
   * @param isListening whether what the client sends is read; while it is not, its silence says nothing
   * @param onSilent called once
   */
  constructor(
    private readonly maxMs: number,
    private readonly isListening: () => boolean,
    private readonly onSilent: () => void,
  ) {
    this.heard()
    this.#timer = setTimeout(this.#look, maxMs)
  }

  /** A packet came, or the client is listened to again. */
  heard(): void {
    this.#heardAt = performance.now()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** What came while this process was busy is read first. */
  readonly #look = (): void => {
    setImmediate(this.#judge)
  }

  readonly #judge = (): void => {
    if (this.#timer === undefined) return
    if (!this.isListening()) this.heard()
    const restMs = this.#heardAt + this.maxMs - performance.now()
    if (restMs > 0) this.#timer = setTimeout(this.#look, Math.ceil(restMs))
    else {
      this.stop()
      this.onSilent()
    }
  }
}
