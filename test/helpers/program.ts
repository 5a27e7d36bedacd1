/** The built program in a process of its own, to be killed and started again on the same data. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { dataDir, storeSettings } from './gateway.js'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

export class Program {
  readonly dir: string
  #child: ChildProcess | undefined
  httpPort = 0
  mqttPort = 0

  constructor(
    t: Test,
    private readonly settings: Readonly<Record<string, string>>,
  ) {
    this.dir = dataDir(t)
    t.teardown(() => this.kill())
  }

  /** Resolves when it is ready, on free ports. */
  async start(): Promise<void> {
    const all = {
      'data.dir': this.dir,
      'http.port': '0',
      'mqtt.port': '0',
      'ops.port': '0',
      'passwords.cost': '4',
      ...storeSettings(this.dir),
      ...this.settings,
    }
    const args = Object.entries(all).map(([key, value]) => `--${key}=${value}`)
    const child = spawn(process.execPath, [MAIN, 'serve', ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    for await (const line of createInterface(child.stdout)) {
      const { event, http, mqtt } = JSON.parse(line)
      if (event !== 'gateway.ready') continue
      this.httpPort = http.port
      this.mqttPort = mqtt.port
      child.stdout.resume()
      return
    }
    throw new Error('ended before it was ready')
  }

  /** Ends it at once, as `kill -9` does; resolves when it is gone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Has it close; resolves when it is gone. @returns its exit code */
  async stop(): Promise<number | null> {
    return this.#end('SIGTERM')
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return null
    const gone = once(child, 'exit')
    child.kill(signal)
    const [code] = await gone
    return code
  }
}

export async function startProgram(
  t: Test,
  settings: Readonly<Record<string, string>> = {},
): Promise<Program> {
  const program = new Program(t, settings)
  await program.start()
  return program
}
