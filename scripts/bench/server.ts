/** A program under test: starts it on its core, waits for its ready line, and ends it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { onServerCore } from './machine.js'

const READY_TIMEOUT_MS = 120_000
const STOP_TIMEOUT_MS = 20_000

/** Child processes that must not outlive this process, however it ends. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export interface Ports {
  readonly http: number
  readonly mqtt: number
}

export class Server {
  private constructor(
    readonly child: ChildProcess,
    readonly pid: number,
    readonly ports: Ports,
    /** Time from spawn to ready, ms. */
    readonly startMs: number,
  ) {}

  /** @param ready returns the ports if a line of output says that the program is ready */
  static async start(argv: readonly string[], ready: (line: string) => Ports | undefined): Promise<Server> {
    const [command = '', ...args] = onServerCore(argv)
    const begun = performance.now()
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    running.add(child)
    const said: string[] = []
    const exited = once(child, 'exit').then(([code, signal]) => {
      running.delete(child)
      throw new Error(`${argv.join(' ')}: ended with ${code ?? signal}\n${said.slice(-20).join('\n')}`)
    })
    exited.catch(() => undefined)
    const isReady = new Promise<Ports>(resolve => {
      const hear = (line: string) => {
        if (said.length < 1000) said.push(line)
        const ports = ready(line)
        if (ports !== undefined) resolve(ports)
      }
      createInterface(child.stdout).on('line', hear)
      createInterface(child.stderr).on('line', hear)
    })
    const late = setTimeout(() => child.kill('SIGKILL'), READY_TIMEOUT_MS)
    const ports = await Promise.race([isReady, exited])
    clearTimeout(late)
    return new Server(child, child.pid ?? 0, ports, performance.now() - begun)
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const gone = once(this.child, 'exit')
    const killer = setTimeout(() => this.child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    this.child.kill('SIGTERM')
    await gone
    clearTimeout(killer)
  }
}
