/** Kills the server again and again, and ends it nicely now and then. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../random.js'
import type { ServerProcess } from '../server-process.js'

/** Of so many ends one is graceful. */
const GRACEFUL_EVERY = 4
/** How often the process is killed once more before it is ready. */
const KILLED_AGAIN = 0.15
const KILLED_AGAIN_MS = [20, 500] as const
const DOWN = 0.3
const DOWN_MS = [100, 1500] as const

export interface RestartOptions {
  readonly killsPerMinute: number
  readonly random: Random
  readonly say: (text: string) => void
}

export class Restarts {
  readonly #stopping = new AbortController()

  constructor(
    private readonly server: ServerProcess,
    private readonly options: RestartOptions,
  ) {}

  /** Until `stop`. @throws StartError where the server does not come back */
  async run(): Promise<void> {
    const { killsPerMinute, random } = this.options
    if (killsPerMinute === 0) return
    const everyMs = (60_000 / killsPerMinute) * (1 - 1 / GRACEFUL_EVERY)
    const begin = performance.now()
    for (let i = 1; ; i++) {
      // Around fixed times, so that the number of kills does not hang on how long each takes.
      const at = begin + everyMs * (i - 0.5 + random.between(-0.4, 0.4))
      await delay(Math.max(0, at - performance.now()), undefined, { signal: this.#stopping.signal }).catch(
        () => undefined,
      )
      if (this.#stopping.signal.aborted) return
      await this.restart(i % GRACEFUL_EVERY !== 0)
    }
  }

  stop(): void {
    this.#stopping.abort()
  }

  async restart(isKill: boolean): Promise<void> {
    const { server, options } = this
    const { random, say } = options
    say(isKill ? 'kill -9' : 'SIGTERM')
    await (isKill ? server.kill() : server.stop())
    if (random.chance(DOWN)) await delay(random.between(...DOWN_MS))
    if (random.chance(KILLED_AGAIN)) {
      server.spawn()
      await delay(random.between(...KILLED_AGAIN_MS))
      say('kill -9 while it starts')
      await server.kill()
    }
    const begin = performance.now()
    await server.start()
    say(`ready after ${Math.round(performance.now() - begin)} ms`)
  }
}
