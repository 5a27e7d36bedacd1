/**
 * Tells systemd what the process does (sd_notify(3)): a unit of `Type=notify` counts as started when the gateway is ready, is
 * restarted if the event loop stands still (WatchdogSec=), and shows a line in `systemctl status`.
 *
 * By `systemd-notify`: Node has no datagrams on Unix sockets, and the packages that have are native code to be compiled. It
 * waits until systemd has taken the message, since what comes from a process that is gone belongs to no unit; and it is not
 * the main process of the unit, which therefore needs NotifyAccess=all.
 */
import { type ExecFileException, execFile } from 'node:child_process'
import type { Logger } from '../core/log.js'
import { Serial } from '../flow/serial.js'

const COMMAND = 'systemd-notify'
/** systemd-notify itself waits 5 s for an answer. */
const TIMEOUT_MS = 10_000
/** What ends too late ends itself first. */
const MARGIN_MS = 2000
/** Told so often within the time after which systemd takes the process for dead: one that is late is made up for. */
const PINGS = 3

/** What systemd says in the environment. */
export type SupervisorEnv = Readonly<
  Partial<Record<'NOTIFY_SOCKET' | 'WATCHDOG_USEC' | 'WATCHDOG_PID' | 'PATH', string | undefined>>
>

export class Supervisor {
  readonly #socket: string | undefined
  readonly #path: string | undefined
  readonly #watchdogMs: number | undefined
  readonly #log: Logger
  readonly #order = new Serial()
  #pings: NodeJS.Timeout | undefined
  /** The text of the last status, which a reload gives back. */
  #status = ''
  #isStopping = false
  /** One line when it begins to fail, and not one with each ping. */
  #isHeard = true

  /**
   * @param env without NOTIFY_SOCKET nothing is told to anybody
   * @param pid of this process: a watchdog that is meant for another one is not used
   */
  constructor(env: SupervisorEnv, pid: number, log: Logger) {
    this.#socket = env.NOTIFY_SOCKET || undefined
    this.#path = env.PATH
    this.#watchdogMs = watchdogMs(env, pid)
    this.#log = log
  }

  /** While it starts: what takes long. */
  starting(status: string): void {
    this.#tell({ STATUS: status })
  }

  /** From now on systemd is told that the event loop turns, if it asks for that. */
  ready(status: string): void {
    this.#status = status
    this.#tell({ READY: 1, STATUS: status })
    if (this.#socket === undefined || this.#watchdogMs === undefined) return
    this.#pings ??= setInterval(() => {
      // One that still waits will be followed by others; a row of them would be late news.
      if (this.#order.isIdle) this.#tell({ WATCHDOG: 1 })
    }, this.#watchdogMs / PINGS).unref()
  }

  /** @param done settles when the config has been read again, or has not */
  async reloading(done: Promise<unknown>): Promise<void> {
    // By the clock of systemd, which compares: the time at which the reload began.
    this.#tell({
      RELOADING: 1,
      MONOTONIC_USEC: process.hrtime.bigint() / 1000n,
      STATUS: 'reading the config again',
    })
    await done.catch(() => undefined)
    this.#tell({ READY: 1, STATUS: this.#status })
  }

  /** @param withinMs the process ends by then; systemd kills it after TimeoutStopSec=, unless it was told of a longer time */
  stopping(withinMs: number): void {
    if (this.#isStopping) return
    clearInterval(this.#pings)
    this.#tell({ STOPPING: 1, EXTEND_TIMEOUT_USEC: (withinMs + MARGIN_MS) * 1000, STATUS: 'closing' })
    this.#isStopping = true
  }

  #tell(message: Readonly<Record<string, string | number | bigint>>): void {
    const socket = this.#socket
    if (socket === undefined || this.#isStopping) return
    // A path may have a line break, which would begin another word.
    const words = Object.entries(message).map(
      ([name, value]) => `${name}=${String(value).replace(/\s/g, ' ')}`,
    )
    this.#order.run(() => this.#run(words, socket)).catch(err => this.#warn(err, ''))
  }

  #run(words: readonly string[], socket: string): Promise<void> {
    const env = { NOTIFY_SOCKET: socket, ...(this.#path !== undefined && { PATH: this.#path }) }
    return new Promise(resolve => {
      execFile(COMMAND, words, { env, timeout: TIMEOUT_MS }, (err, _stdout, stderr) => {
        if (err === null) this.#isHeard = true
        else this.#warn(err, stderr.trim())
        resolve()
      })
    })
  }

  #warn(err: ExecFileException, stderr: string): void {
    // Without KillMode=mixed the SIGTERM that ends the gateway ends it, too.
    if (!this.#isHeard || (this.#isStopping && err.signal === 'SIGTERM')) return
    this.#isHeard = false
    this.#log.warn(
      { event: 'supervisor.not-told', reason: stderr || err.code || err.signal },
      err.code === 'ENOENT'
        ? `NOTIFY_SOCKET is set and ${COMMAND} is not there: a unit of Type=notify waits in vain, one of Type=exec does not`
        : 'systemd does not hear what the gateway does',
    )
  }
}

/** @returns after so long without news systemd restarts the process, ms; undefined: never */
function watchdogMs(
  { WATCHDOG_USEC: usec = '', WATCHDOG_PID }: SupervisorEnv,
  pid: number,
): number | undefined {
  if (WATCHDOG_PID !== undefined && WATCHDOG_PID !== String(pid)) return undefined
  // More than setInterval takes is never.
  return /^[1-9]\d{0,12}$/.test(usec) ? Math.min(Number(usec) / 1000, 2 ** 31 - 1) : undefined
}
