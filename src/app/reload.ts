/** Reads the config again, and gives new values to the parts that take them while they run. */
import { type Config, ConfigError } from '../config/config.js'
import { difference, type Reloaded, withLive } from '../config/reload.js'
import { GatewayError } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { UserId } from '../core/model.js'

export interface ReloadParts {
  readonly log: Logger
  /** @throws ConfigError */
  readonly load: () => Config
  /** Gives a config to the parts. Its values differ from the last one's only where that counts at once. */
  readonly apply: (config: Config) => void
  /** Called for accounts that the config named as admins and names no more. */
  readonly demote: (userId: UserId) => Promise<unknown>
}

export class Reload {
  #config: Config

  /** @param config the one that the gateway was started with */
  constructor(
    private readonly parts: ReloadParts,
    config: Config,
  ) {
    this.#config = config
  }

  /** Nothing is changed if the config has a fault. @throws GatewayError BAD_FIELD {field: 'config'} */
  async run(): Promise<Reloaded> {
    const { log, apply, demote } = this.parts
    const loaded = this.#load()
    const before = this.#config
    const result = difference(before, loaded)
    this.#config = withLive(before, loaded)
    apply(this.#config)
    // `mumi log-level` may have set another one.
    log.level = this.#config.log.level
    const level = result.atRestart.length > 0 ? 'warn' : 'info'
    log[level]({ event: 'config.reloaded', ...result }, 'config read again')
    const admins = new Set(this.#config.roles.admins)
    for (const userId of before.roles.admins) if (!admins.has(userId)) await demote(userId)
    return result
  }

  #load(): Config {
    try {
      return this.parts.load()
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown
      const { faults } = thrown
      this.parts.log.error({ event: 'config.refused', faults }, 'config not read again: it has faults')
      throw new GatewayError('BAD_FIELD', { field: 'config', reason: faults.join('; ') }, thrown)
    }
  }
}

/** Gives the members of `source` to `target`, whose objects stay the same, so that whoever holds one has the new values. */
export function assignDeep<T extends object>(target: T, source: T): void {
  const to = target as Record<string, unknown>
  for (const [name, value] of Object.entries(source)) {
    const old = to[name]
    if (isPlain(old) && isPlain(value)) assignDeep(old, value)
    else to[name] = value
  }
}

const isPlain = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
