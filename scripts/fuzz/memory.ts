/** What the server holds when its garbage is collected, as memory.mjs tells it. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { ServerProcess } from '../server-process.js'
import { within } from '../within.js'
import { Fault } from './input.js'
import { PATIENCE_MS } from './world.js'

export interface Held {
  /** Objects, bytes. */
  readonly heap: number
  /** Buffers, and what else belongs to objects and lies outside of the heap, bytes. */
  readonly external: number
  /** What the system has given to the process, mapped files apart, bytes; see docs/security.md for why that is more. */
  readonly resident: number
}

const MODULE = new URL('memory.mjs', import.meta.url)
const LOOK_MS = 20
const SETTLE_MS = 500
const SETTLE_TRIES = 40
/** So often it must fall no further. */
const SETTLED = 4

export class ServerMemory {
  readonly #file: string

  /** @param file where the server writes it */
  constructor(file: string) {
    this.#file = file
  }

  /** Options of Node's for the server. */
  get execArgv(): readonly string[] {
    return ['--expose-gc', '--import', `${MODULE.href}?to=${encodeURIComponent(this.#file)}`]
  }

  /** When it is no more than `goal` says, or falls no further: what is being closed takes its time. @throws Fault */
  async settled(server: ServerProcess, isEnough: (held: Held) => boolean): Promise<Held> {
    let lowest = await this.#collect(server)
    for (let tries = 0, same = 0; tries < SETTLE_TRIES && same < SETTLED && !isEnough(lowest); tries++) {
      await delay(SETTLE_MS)
      const held = await this.#collect(server)
      same = sum(held) < sum(lowest) * 0.99 || held.resident < lowest.resident * 0.99 ? 0 : same + 1
      lowest = {
        ...(sum(held) < sum(lowest) ? held : lowest),
        resident: Math.min(held.resident, lowest.resident),
      }
    }
    return lowest
  }

  async #collect(server: ServerProcess): Promise<Held> {
    rmSync(this.#file, { force: true })
    try {
      process.kill(server.pid ?? 0, 'SIGUSR2')
      await within(PATIENCE_MS, this.#written())
    } catch {
      throw new Fault(`the server does not say within ${PATIENCE_MS} ms what it holds`)
    }
    const { heapUsed, external } = JSON.parse(readFileSync(this.#file, 'utf8'))
    return { heap: heapUsed, external, resident: server.memory }
  }

  async #written(): Promise<void> {
    while (!existsSync(this.#file)) await delay(LOOK_MS)
  }
}

/** What belongs to objects that are reachable. */
export const sum = ({ heap, external }: Held): number => heap + external
