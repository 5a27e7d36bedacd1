/** One request of the operator on the store of a gateway that does not run: the parts are made, and no port. */
import { Passwords } from '../accounts/passwords.js'
import { type AdminReply, askAdmin } from '../admin/ask.js'
import { type Config, ConfigError } from '../config/config.js'
import { openAudit } from '../core/audit.js'
import { createLogger } from '../core/log.js'
import { Metrics } from '../core/metrics.js'
import { Limits } from '../limits/limits.js'
import { closeParts, compose } from './compose.js'
import { IDLE_OPERATION } from './operation.js'
import { limitRules } from './options.js'
import { hasStore, makeStore } from './stores.js'

/**
 * @param mayMake whether a store is made if there is none
 * @throws ConfigError if there is no store, GatewayError if a gateway has it open
 */
export async function askIdle(
  config: Config,
  { name, body, mayMake }: { readonly name: string; readonly body: string; readonly mayMake: boolean },
): Promise<AdminReply> {
  if (!mayMake && !hasStore(config)) throw new ConfigError([`data.dir: no store in ${config.data.dir}`])
  const log = createLogger({ level: 'silent', pretty: 'never' })
  const metrics = new Metrics()
  const store = await makeStore(config)
  const passwords = new Passwords({ ...config.passwords, concurrency: 1 })
  try {
    await store.open()
    const unheard = { onError: () => undefined, onDropped: () => undefined }
    const audit = await openAudit(config.audit.file, unheard)
    const operation = { ...IDLE_OPERATION, backup: (file: string) => store.backup(file) }
    const limits = new Limits(limitRules(config), metrics)
    const given = { config, log, metrics, limits, passwords, audit, operation: () => operation }
    const parts = await compose(given, store)
    const reply = await askAdmin(parts.services, metrics, name, body)
    await closeParts(parts, 0)
    await audit.close()
    return reply
  } finally {
    await passwords.close()
    await store.close()
  }
}
