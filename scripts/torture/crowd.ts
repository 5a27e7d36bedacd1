/** Hundreds of idle connections that use up the server's file descriptors and then close. */
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { WebSocket } from 'ws'
import type { Random } from '../random.js'
import type { ServerProcess } from '../server-process.js'
import { within } from '../within.js'
import { open, registerOn } from './register.js'

export interface CrowdOptions {
  /** Connections; more than the server may open. */
  readonly size: number
  readonly ports: { readonly http: number; readonly mqtt: number }
  readonly random: Random
  readonly say: (text: string) => void
}

const FIRST_MS = [1000, 2000] as const
const REST_MS = [5000, 15_000] as const
/** How long a crowd stays. The gateway checks for a free descriptor once a second. */
const STAY_MS = [1200, 2500] as const
/** How long a crowd waits for the first refused connection. */
const FULL_TIMEOUT_MS = 3000
/** How long the server may take to answer, and to accept a new client again. */
const ANSWER_TIMEOUT_MS = 10_000
const RETRY_MS = 100
const PASSWORD = 'torture password'

export class Crowd {
  /** Crowds that used up the descriptors. */
  full = 0
  /** Crowds during which the server did not serve earlier connections, or after which it accepted no new client. */
  refused = 0
  readonly details: string[] = []
  readonly #stopping = new AbortController()
  #newcomers = 0

  constructor(
    private readonly server: ServerProcess,
    private readonly options: CrowdOptions,
  ) {}

  /** Runs until `stop`. */
  async run(): Promise<void> {
    const { random } = this.options
    let rest: readonly [number, number] = FIRST_MS
    while (await this.#pause(random.between(...rest))) {
      if (!this.server.isReady) continue
      rest = REST_MS
      await this.#visit()
    }
  }

  stop(): void {
    this.#stopping.abort()
  }

  /** One crowd. If the server is ended meanwhile, the result is discarded. */
  async #visit(): Promise<void> {
    const { server } = this
    const { size, ports, random, say } = this.options
    const begin = server.ends
    const isSame = () => server.ends === begin
    const early = await within(ANSWER_TIMEOUT_MS, open(ports.http)).catch(() => undefined)
    if (!server.isReady || !isSame()) return
    const sockets = Array.from({ length: size }, (_, i) => idle(i % 2 === 0 ? ports.mqtt : ports.http))
    const isFull = await within(FULL_TIMEOUT_MS, someoneIsTurnedAway(sockets)).catch(() => false)
    await this.#pause(random.between(...STAY_MS))
    const isServed = early !== undefined && (await this.#register(early))
    for (const socket of sockets) socket.destroy()
    if (isFull && isSame()) this.full++
    say(`a crowd of ${size} ${isFull ? 'used up the descriptors' : 'came'} and went`)
    const isIn = isServed && (await this.#tryToEnter(isSame))
    if (isIn || !isSame()) return
    this.refused++
    const details = isServed ? 'when it had gone nobody was let in' : 'meanwhile the server did not answer'
    this.details.push(`refused at ${(performance.now() / 1000).toFixed(3)} s: a crowd came, and ${details}`)
  }

  async #tryToEnter(isSame: () => boolean): Promise<boolean> {
    const end = performance.now() + ANSWER_TIMEOUT_MS
    while (performance.now() < end && isSame()) {
      const ws = await within(ANSWER_TIMEOUT_MS, open(this.options.ports.http)).catch(() => undefined)
      if (ws !== undefined && (await this.#register(ws))) return true
      await delay(RETRY_MS)
    }
    return false
  }

  /** Registers a new account, which needs a hashed password and a commit. */
  async #register(ws: WebSocket): Promise<boolean> {
    const email = `newcomer${this.#newcomers++}@torture.example`
    try {
      await within(ANSWER_TIMEOUT_MS, registerOn(ws, email, PASSWORD))
      return true
    } catch {
      ws.terminate()
      return false
    }
  }

  async #pause(ms: number): Promise<boolean> {
    const { signal } = this.#stopping
    await delay(ms, undefined, { signal }).catch(() => undefined)
    return !signal.aborted
  }
}

function idle(port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  return socket.resume()
}

/** The system accepts and closes a connection that the server has no descriptor for. */
const someoneIsTurnedAway = (sockets: readonly Socket[]): Promise<boolean> =>
  new Promise(resolve => {
    for (const socket of sockets) socket.once('connect', () => socket.once('close', () => resolve(true)))
  })
