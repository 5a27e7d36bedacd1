/** Kills the server again and again, or stops it cleanly, and sets its clock between starts. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../random.js'
import type { ServerProcess } from '../server-process.js'

/** One of every four ends is clean: the second, so that a short run has one, too. */
const GRACEFUL_EVERY = 4
const GRACEFUL = 2
/** Probability of another kill before the process is ready. */
const KILLED_AGAIN = 0.15
const KILLED_AGAIN_MS = [20, 500] as const
const DOWN = 0.3
const DOWN_MS = [100, 1500] as const

/** Probability that the clock is set before a start. */
const CLOCK_SET = 0.5
const HOUR_MS = 3_600_000
/** Clock offsets. Two clocks differ by at most two days, less than any configured expiry, so nothing may expire. */
const CLOCK_HOURS = [-24, 24] as const

/** Is told of each end of the process. */
export interface EndWatcher {
  /** Called in the turn in which the signal is sent. */
  beforeEnd(isKill: boolean): void
  /** The process has ended. */
  afterEnd(isKill: boolean): void
  /** The next process accepts connections. */
  resume(): void
}

/** Every end is clean, and between two of them the config is read again so often. */
const RELOAD_MS = 500

export interface RestartOptions {
  readonly killsPerMinute: number
  /** Nothing is killed: clients are sent away one after the other, and the config is read again in between. */
  readonly isGraceful: boolean
  /** Hours by which the clock is off at each start, in turn and again. Empty: random ones, at half of the starts. */
  readonly clockHours: readonly number[]
  readonly random: Random
  readonly watcher: EndWatcher
  readonly say: (text: string) => void
}

export class Restarts {
  /** Starts with a clock that differs from that of the start before. */
  clockJumps = 0
  /** How often the config was read again. */
  reloads = 0
  readonly #stopping = new AbortController()

  constructor(
    private readonly server: ServerProcess,
    private readonly options: RestartOptions,
  ) {}

  /** Runs until `stop`. @throws StartError if the server does not start again */
  async run(): Promise<void> {
    const { killsPerMinute, isGraceful, random } = this.options
    if (killsPerMinute === 0) return
    if (isGraceful) void this.#reload()
    const everyMs = (60_000 / killsPerMinute) * (1 - 1 / GRACEFUL_EVERY)
    const begin = performance.now()
    for (let i = 1; ; i++) {
      // Kills happen around fixed times, so their number does not depend on how long each takes.
      const at = begin + everyMs * (i - 0.5 + random.between(-0.4, 0.4))
      await delay(Math.max(0, at - performance.now()), undefined, { signal: this.#stopping.signal }).catch(
        () => undefined,
      )
      if (this.#stopping.signal.aborted) return
      await this.restart(!isGraceful && i % GRACEFUL_EVERY !== GRACEFUL)
    }
  }

  async #reload(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await delay(RELOAD_MS)
      if (this.server.reload()) this.reloads++
    }
  }

  stop(): void {
    this.#stopping.abort()
  }

  async restart(isKill: boolean): Promise<void> {
    const { server } = this
    const { clockHours, isGraceful, random, watcher, say } = this.options
    say(isKill ? 'kill -9' : 'SIGTERM')
    await this.#end(isKill)
    if (random.chance(DOWN)) await delay(random.between(...DOWN_MS))
    if (clockHours.length > 0) this.#setClock(clockHours[this.clockJumps % clockHours.length] ?? 0)
    else if (random.chance(CLOCK_SET)) this.#setClock(Math.round(random.between(...CLOCK_HOURS)))
    if (!isGraceful && random.chance(KILLED_AGAIN)) {
      server.spawn()
      await delay(random.between(...KILLED_AGAIN_MS))
      say('kill -9 while it starts')
      await this.#end(true)
    }
    const begin = performance.now()
    await server.start()
    watcher.resume()
    say(`ready after ${Math.round(performance.now() - begin)} ms`)
  }

  async #end(isKill: boolean): Promise<void> {
    const { server } = this
    const { watcher } = this.options
    watcher.beforeEnd(isKill)
    await (isKill ? server.kill() : server.stop())
    watcher.afterEnd(isKill)
  }

  #setClock(hours: number): void {
    const { say } = this.options
    this.server.clockOffsetMs = hours * HOUR_MS
    this.clockJumps++
    say(`the clock is ${Math.abs(hours)} h ${hours < 0 ? 'behind' : 'ahead'}`)
  }
}
