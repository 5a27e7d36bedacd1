/** The built program as a child process that can be stopped, killed and started again on the same folder and ports. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { within } from './within.js'

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const CLOCK = new URL('clock.mjs', import.meta.url).href

const READY_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 30_000
const MEMORY_EVERY_MS = 500

export interface ServerOptions {
  /** Folder of the data and of the server's log, `server.log`. */
  readonly dir: string
  /** Config keys. */
  readonly settings: Readonly<Record<string, string>>
  /** A fault to plant: URL of the module, and name of the fault in it. */
  readonly plant?: { readonly module: string; readonly fault: string }
  /** Command-line options of Node. */
  readonly execArgv?: readonly string[]
  /** Limit of open files and sockets; default: that of this process. */
  readonly files?: number
  /** Called when the process ends unexpectedly. */
  readonly onDied: (how: string) => void
  /** Called for each log line of level error and above, and for each line on stderr. */
  readonly onError?: (event: string) => void
}

/** The server did not come up. */
export class StartError extends Error {}

export class ServerProcess {
  /** Clock offset of the next process, ms; negative = behind. */
  clockOffsetMs = 0
  /** The server accepts connections. */
  isReady = false
  graceful = 0
  killed = 0
  /** SIGTERM did not lead to exit code 0. */
  unclean = 0
  died = 0
  /** Peak resident memory of all processes, bytes, sampled twice a second; 0 if the system does not report it. */
  maxMemory = 0
  /** Counts of log events of level error and above, and of lines on stderr. */
  readonly errors = new Map<string, number>()
  readonly #options: ServerOptions
  readonly #log: ReturnType<typeof createWriteStream>
  #child: ChildProcess | undefined
  #isExpected = false

  constructor(options: ServerOptions) {
    this.#options = options
    this.#log = createWriteStream(join(options.dir, 'server.log'), { flags: 'a' })
    setInterval(() => this.#measure(), MEMORY_EVERY_MS).unref()
    process.on('exit', () => this.#child?.kill('SIGKILL'))
  }

  /** Starts the process; resolves when it accepts connections. @throws StartError */
  async start(): Promise<void> {
    const child = this.spawn()
    await within(READY_TIMEOUT_MS, Promise.race([once(child, 'ready'), once(child, 'exit')])).catch(error => {
      throw new StartError(`the server is not ready: ${error.message}`)
    })
    if (child.exitCode !== null || child.signalCode !== null)
      throw new StartError(
        `the server ended while it started: ${child.signalCode ?? `exit code ${child.exitCode}`}`,
      )
  }

  /** Starts the process without waiting until it is ready. */
  spawn(): ChildProcess {
    const { plant, files } = this.#options
    const program = [process.execPath, ...this.#args()]
    const [command = '', ...args] =
      files === undefined ? program : ['sh', '-c', `ulimit -n ${files} && exec "$0" "$@"`, ...program]
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH ?? '',
        CLOCK_OFFSET_MS: String(this.clockOffsetMs),
        ...(plant && { PLANTED_FAULT: plant.fault }),
      },
    })
    child.stderr.pipe(this.#log, { end: false })
    child.stdout.pipe(this.#log, { end: false })
    createInterface(child.stdout).on('line', line => this.#logged(line, child))
    createInterface(child.stderr).on('line', () => this.#failed('stderr'))
    child.once('exit', (code, signal) => this.#ended(child, signal ?? `exit code ${code}`))
    this.#child = child
    this.#isExpected = false
    return child
  }

  /** How often a process was ended, or ended itself. */
  get ends(): number {
    return this.graceful + this.killed + this.died
  }

  #args(): string[] {
    const { dir, settings, plant, execArgv = [] } = this.#options
    const before = [
      ...(this.clockOffsetMs === 0 ? [] : [CLOCK]),
      ...(plant === undefined ? [] : [plant.module]),
    ]
    const config = Object.entries({ 'data.dir': join(dir, 'data'), ...settings })
    return [
      ...execArgv,
      ...before.flatMap(module => ['--import', module]),
      MAIN,
      'serve',
      ...config.flatMap(([key, value]) => [`--${key}`, value]),
    ]
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    this.killed++
    await this.#end('SIGKILL')
  }

  /** SIGHUP. @returns false if the server is not ready, or is about to end */
  reload(): boolean {
    return this.isReady && this.#child?.kill('SIGHUP') === true
  }

  /** SIGTERM. */
  async stop(): Promise<void> {
    this.graceful++
    const child = this.#child
    const late = setTimeout(() => child?.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await this.#end('SIGTERM')
    clearTimeout(late)
    if (child?.exitCode !== 0) this.unclean++
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    this.#measure()
    this.#isExpected = true
    this.isReady = false
    const exit = once(child, 'exit')
    child.kill(signal)
    await exit
  }

  #logged(line: string, child: ChildProcess): void {
    const { event, level } = parseLine(line)
    if (event === 'gateway.ready' && child === this.#child && !this.#isExpected) {
      this.isReady = true
      child.emit('ready')
    }
    if (level === 'error' || level === 'fatal') this.#failed(event)
  }

  #failed(event: string): void {
    this.errors.set(event, (this.errors.get(event) ?? 0) + 1)
    this.#options.onError?.(event)
  }

  #ended(child: ChildProcess, how: string): void {
    if (child !== this.#child || this.#isExpected) return
    this.isReady = false
    this.died++
    this.#options.onDied(how)
  }

  /**
   * Resident memory in bytes, without mapped files: the pages of the store's file do not belong to the process.
   * 0 if the process has ended or the system does not report it (Linux does).
   */
  get memory(): number {
    try {
      const status = readFileSync(`/proc/${this.#child?.pid}/status`, 'utf8')
      return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
    } catch {
      return 0
    }
  }

  /** Of the running process. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  #measure(): void {
    this.maxMemory = Math.max(this.maxMemory, this.memory)
  }
}

function parseLine(line: string): { event: string; level: string } {
  try {
    const { event = '', level = '' } = JSON.parse(line)
    return { event, level }
  } catch {
    return { event: 'not JSON', level: 'error' }
  }
}
