/** What an operator asks of the process as a whole. */
import type { Config } from '../config/config.js'
import { GatewayError } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { UserId } from '../core/model.js'
import { version } from '../core/version.js'
import type { Operation } from '../handle/services.js'
import type { LiveConnections } from '../live/live.js'

export interface OperationParts {
  readonly config: Config
  readonly log: Logger
  readonly live: LiveConnections
  readonly reload: Operation['reload']
  readonly backup: Operation['backup']
  readonly exportPage: Operation['exportPage']
  readonly drain: Operation['drain']
  /** Public key of the greeting. */
  readonly greetingKey: () => string | undefined
  /** See Metrics.totals. */
  readonly totals: () => Promise<Readonly<Record<string, number>>>
}

/** Of a gateway that runs. */
export class RunningOperation implements Operation {
  readonly #startedAt = Date.now()

  constructor(private readonly parts: OperationParts) {}

  async stats(): Promise<Readonly<Record<string, string | number>>> {
    const { config, live, log, totals, greetingKey } = this.parts
    const memory = process.memoryUsage()
    return {
      version: version(),
      pid: process.pid,
      started_at: new Date(this.#startedAt).toISOString(),
      uptime_seconds: Math.round(process.uptime()),
      store: config.store.type,
      greeting_key: greetingKey() ?? '',
      log_level: log.level,
      users_online: [...live.online()].length,
      memory_bytes: memory.rss,
      ...(await totals()),
    }
  }

  reload(): ReturnType<Operation['reload']> {
    return this.parts.reload()
  }

  backup(file: string, withFiles?: boolean): ReturnType<Operation['backup']> {
    return this.parts.backup(file, withFiles)
  }

  exportPage(id: UserId, from?: string): ReturnType<Operation['exportPage']> {
    return this.parts.exportPage(id, from)
  }

  drain(seconds?: number): ReturnType<Operation['drain']> {
    return this.parts.drain(seconds)
  }

  logLevel(level?: string): string {
    const { log } = this.parts
    if (level !== undefined) log.level = level
    return log.level
  }
}

const refuse = (): never => {
  throw new GatewayError('FORBIDDEN', { field: 'action', reason: 'needs a gateway that runs' })
}

/** Of an idle store: there is no process to ask. */
export const IDLE_OPERATION: Operation = {
  backup: async () => refuse(),
  exportPage: async () => refuse(),
  stats: async () => refuse(),
  drain: refuse,
  reload: async () => refuse(),
  logLevel: refuse,
}
