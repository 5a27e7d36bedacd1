/** Ends the sessions of MQTT 5 clients when the time has passed for which they asked to be kept. */
import { Deadlines } from '../flow/deadlines.js'
import type { MqttConnection } from './connection.js'
import type { Connections } from './connections.js'
import { type BrokerParts, logStoreFault } from './parts.js'
import { NEVER } from './routing/persistence/sessions.js'

export class SessionExpiry {
  readonly #deadlines = new Deadlines(scoped => this.#end(scoped))

  constructor(
    private readonly parts: BrokerParts,
    private readonly connections: Connections,
  ) {}

  /** At start. A client that was connected when the process died counts as connected until now. */
  start(): void {
    for (const [scoped, at] of this.parts.state.sessions.expiries()) this.#deadlines.set(scoped, at)
  }

  close(): void {
    this.#deadlines.close()
  }

  /** A connection has the session, or begins it. @returns false if the time had passed, and the session is not ended yet */
  opened(scoped: string): boolean {
    return (this.#deadlines.delete(scoped) ?? Number.POSITIVE_INFINITY) > Date.now()
  }

  /** The connection has ended. */
  left({ id, clean, expirySeconds }: MqttConnection): void {
    if (clean || expirySeconds === undefined) return
    if (expirySeconds === 0) {
      this.#end(id)
      return
    }
    if (expirySeconds < NEVER) this.#deadlines.set(id, Date.now() + expirySeconds * 1000)
    this.#run(id, () => this.parts.state.sessions.leave(id, expirySeconds))
  }

  #end(scoped: string): void {
    this.#run(scoped, () => this.parts.state.sessions.clear(scoped))
  }

  /** Unless a connection has the session again by then. */
  #run(scoped: string, work: () => Promise<void>): void {
    const unlessHeld = async () => {
      if (this.connections.holderOf(scoped) === undefined) await work()
    }
    this.connections
      .inOrder(scoped, unlessHeld)
      .catch(thrown => logStoreFault(this.parts, 'sessionExpiry', thrown))
  }
}
