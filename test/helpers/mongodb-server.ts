/** A MongoDB server for one test, which can stop, kill, stall and restart it on the same port and file. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { freePorts } from '../../scripts/ports.js'

/**
 * Command that runs a server in the foreground: `START PORT FILE`. It prints its URL when it is ready, and its process is
 * the server's process.
 */
const START = process.env.MUMI_TEST_MONGODB_START

export const skipWithoutStart =
  START === undefined && 'MUMI_TEST_MONGODB_START names no program that starts a server'

/** Interval between two checks of the file. */
const LOOK_MS = 50

export class MongoServer {
  readonly #file: string
  readonly port: number
  #child: ChildProcess | undefined

  constructor(port: number, file: string) {
    this.port = port
    this.#file = file
  }

  get url(): string {
    return `mongodb://127.0.0.1:${this.port}`
  }

  /** Resolves when the server is ready. */
  async start(): Promise<void> {
    const child = spawn(START ?? '', [String(this.port), this.#file], { stdio: ['ignore', 'pipe', 'ignore'] })
    this.#child = child
    for await (const line of createInterface(child.stdout)) if (line.startsWith('mongodb://')) return
    throw new Error('the server ended before it was up')
  }

  /** Resolves when the server has ended. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  /**
   * Resolves when all acknowledged writes are in its file. mongo-java-server writes the file once a second, whatever the
   * write concern. Waits for two writes of the file, since the first may have begun earlier. Needs a client that writes.
   */
  async flushed(): Promise<void> {
    const written = () => statSync(this.#file).mtimeMs
    for (let times = 0; times < 2; times++) {
      const before = written()
      while (written() === before) await delay(LOOK_MS)
    }
  }

  /** From now on the server accepts connections and answers nothing. */
  stall(): void {
    this.#child?.kill('SIGSTOP')
  }

  goOn(): void {
    this.#child?.kill('SIGCONT')
  }
}

/** Makes a server without starting it. */
export async function mongoServer(t: Test): Promise<MongoServer> {
  const dir = mkdtempSync(join(tmpdir(), 'mumi-mongodb-'))
  const [port] = await freePorts(1)
  const server = new MongoServer(port as number, join(dir, 'data'))
  t.teardown(async () => {
    await server.end('SIGKILL')
    rmSync(dir, { recursive: true, force: true })
  })
  return server
}
