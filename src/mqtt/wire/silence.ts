/** Whose keep alive it is. */
export interface Watched {
  /** Whether the client's socket is being read; otherwise it may have sent what we did not see. */
  readonly isListening: boolean
  /** Called once: it was silent for too long. */
  silent(): void
}

/** The keep alive of one client: a client that is silent for too long is disconnected [MQTT-3.1.2-24]. */
export class SilenceWatch {
  #heardAt = 0
  #timer: NodeJS.Timeout | undefined

  /** @param maxMs longest silence allowed, ms */
  constructor(
    private readonly maxMs: number,
    private readonly client: Watched,
  ) {
    this.heard()
    this.#timer = setTimeout(look, maxMs, this)
  }

  /** A packet came, or the socket is read again. */
  heard(): void {
    this.#heardAt = performance.now()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  judge(): void {
    if (this.#timer === undefined) return
    if (!this.client.isListening) this.heard()
    const restMs = this.#heardAt + this.maxMs - performance.now()
    if (restMs > 0) this.#timer = setTimeout(look, Math.ceil(restMs), this)
    else {
      this.stop()
      this.client.silent()
    }
  }
}

/** Packets that came while this process was busy are read first. */
const look = (watch: SilenceWatch): void => void setImmediate(judge, watch)

const judge = (watch: SilenceWatch): void => watch.judge()
