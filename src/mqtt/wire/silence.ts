/** The keep alive of one client: a client that is silent for too long is disconnected [MQTT-3.1.2-24]. */
export class SilenceWatch {
  #heardAt = 0
  #timer: NodeJS.Timeout | undefined

  /**
   * @param maxMs longest silence allowed, ms
   * @param isListening whether the client's socket is being read; otherwise it may have sent what we did not see
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

  /** A packet came, or the socket is read again. */
  heard(): void {
    this.#heardAt = performance.now()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Packets that came while this process was busy are read first. */
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
