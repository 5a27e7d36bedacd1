/** Runs the built program as a process that can be killed and started again on the same data. */
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { dataDir, storeSettings } from './gateway.js'
import { plainNode } from './plain-node.js'

export const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

/** Config keys that give each listener a free port. */
export const FREE_PORTS = ['http', 'mqtt', 'ops'].map(name => `--${name}.port=0`)

export interface Watched {
  readonly child: ChildProcessWithoutNullStreams
  /** Resolves when the process has ended and all its output was read. */
  readonly ended: Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>
  /** Resolves with the first log line of this event. Rejects if the process ends without it. */
  logged(event: string): Promise<Record<string, unknown>>
}

/** Reads the output of a `mumi` process; the test's teardown ends it. */
export function watch(t: Test, child: ChildProcessWithoutNullStreams): Watched {
  t.teardown(() => child.kill('SIGKILL'))
  let stderr = ''
  child.stderr.on('data', chunk => (stderr += chunk))
  const lines: string[] = []
  const reader = createInterface(child.stdout).on('line', line => lines.push(line))
  const ended = once(child, 'close').then(([code, signal]) => ({
    code,
    signal,
    stdout: lines.join('\n'),
    stderr,
  }))
  const find = (event: string) => lines.map(line => JSON.parse(line)).find(line => line.event === event)
  const logged = async (event: string) => {
    while (find(event) === undefined) {
      const gone = ended.then(end => Promise.reject(new Error(`no ${event}: ${JSON.stringify(end)}`)))
      await Promise.race([once(reader, 'line'), gone])
    }
    return find(event)
  }
  return { child, ended, logged }
}

/** Runs the command with only this environment. */
export function mumi(t: Test, args: string[], env: Record<string, string> = {}): Watched {
  const { PATH = '' } = process.env
  const command = plainNode([MAIN, ...args], env.NODE_OPTIONS)
  return watch(t, spawn(...command, { env: { PATH, ...env }, cwd: t.testdirName }))
}

/** Runs `serve` on free ports, with its data in the test's folder. */
export function serve(t: Test, args: string[] = [], env: Record<string, string> = {}): Watched {
  const dir = join(t.testdir(), 'data')
  return mumi(t, ['serve', ...FREE_PORTS, '--data.dir', dir, ...args], env)
}

/** Environment that runs `code` in the process before the program, to plant a fault. */
export const planted = (code: string) => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}`,
})

export class Program {
  readonly dir: string
  #child: ChildProcess | undefined
  httpPort = 0
  mqttPort = 0
  /** 0 without TLS. */
  mqttsPort = 0

  constructor(
    t: Test,
    private readonly settings: Readonly<Record<string, string>>,
  ) {
    this.dir = dataDir(t)
    t.teardown(() => this.kill())
  }

  /** Starts it on free ports; resolves when it is ready. */
  async start(): Promise<void> {
    const all = {
      'data.dir': this.dir,
      'http.port': '0',
      'mqtt.port': '0',
      'mqtts.port': '0',
      'ops.port': '0',
      'passwords.cost': '4',
      ...storeSettings(this.dir),
      ...this.settings,
    }
    const args = Object.entries(all).map(([key, value]) => `--${key}=${value}`)
    const child = spawn(...plainNode([MAIN, 'serve', ...args]), { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    for await (const line of createInterface(child.stdout)) {
      const { event, http, mqtt, mqtts } = JSON.parse(line)
      if (event !== 'gateway.ready') continue
      this.httpPort = http.port
      this.mqttPort = mqtt.port
      this.mqttsPort = mqtts?.port ?? 0
      child.stdout.resume()
      return
    }
    throw new Error('ended before it was ready')
  }

  /** Sends SIGKILL; resolves when the process has ended. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Stops it cleanly; resolves when the process has ended. @returns its exit code */
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
