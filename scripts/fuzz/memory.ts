/** The server's memory after a forced collection, as reported by memory.mjs. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { ServerProcess } from '../server-process.js'
import { within } from '../within.js'
import { Fault } from './input.js'
import { PATIENCE_MS } from './world.js'

export interface Held {
  /** Bytes of objects on the heap. */
  readonly heap: number
  /** Bytes outside the heap that belong to objects, such as buffers. */
  readonly external: number
  /** Resident memory without mapped files, bytes; docs/security.md says why it is larger. */
  readonly resident: number
}

const MODULE = new URL('memory.mjs', import.meta.url)
const LOOK_MS = 20
const SETTLE_MS = 500
const SETTLE_TRIES = 40
/** Consecutive measurements without a lower value after which it counts as stable. */
const SETTLED = 4

export class ServerMemory {
  readonly #file: string

  /** @param file the file that the server writes */
  constructor(file: string) {
    this.#file = file
  }

  /** Node options for the server. */
  get execArgv(): readonly string[] {
    return ['--expose-gc', '--import', `${MODULE.href}?to=${encodeURIComponent(this.#file)}`]
  }

  /** Measures until `isEnough` or memory falls no further, because closing connections takes time. @throws Fault */
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

/** Bytes that belong to reachable objects. */
export const sum = ({ heap, external }: Held): number => heap + external
