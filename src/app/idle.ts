/** Requests of the operator on the store of a gateway that does not run: the parts are made, and no port. */
import { Passwords } from '../accounts/passwords.js'
import { type AdminReply, askAdmin, LOCAL } from '../admin/ask.js'
import { type Config, ConfigError } from '../config/config.js'
import { createLogger } from '../core/log.js'
import { Metrics } from '../core/metrics.js'
import type { Operation } from '../handle/services.js'
import { Limits } from '../limits/limits.js'
import { refusePart } from '../store/copy.js'
import { closeParts, compose } from './compose.js'
import { exportPage } from './export.js'
import { openAuditOf } from './line-files.js'
import { IDLE_OPERATION } from './operation.js'
import { limitRules } from './options.js'
import { hasStore, makeStore } from './stores.js'
import { backupStore } from './whole-store.js'

export interface IdleStore {
  /** See askAdmin. */
  ask(name: string, body: string): Promise<AdminReply>
  close(): Promise<void>
}

/**
 * @param mayMake whether a store is made if there is none
 * @throws ConfigError if there is no store, GatewayError if a gateway has it open
 */
export async function openIdle(config: Config, mayMake: boolean): Promise<IdleStore> {
  if (!mayMake && !hasStore(config)) throw new ConfigError([`data.dir: no store in ${config.data.dir}`])
  const log = createLogger({ level: 'silent', pretty: 'never' })
  const metrics = new Metrics()
  const store = await makeStore(config)
  const passwords = new Passwords({ ...config.passwords, concurrency: 1 })
  const release = async () => {
    await passwords.close()
    await store.close()
  }
  try {
    await store.open()
    await refusePart(store)
    const unheard = { onError: () => undefined, onDropped: () => undefined }
    const audit = await openAuditOf(config, unheard)
    const operation: Operation = {
      ...IDLE_OPERATION,
      backup: (file, withFiles) => backupStore(config, store, { file, withFiles }),
      exportPage: (id, from) => exportPage(store, id, from),
    }
    const limits = new Limits(limitRules(config), metrics)
    const given = { config, log, metrics, limits, passwords, audit, operation: () => operation }
    const parts = await compose(given, store)
    return {
      ask: (name, body) => askAdmin(parts.services, metrics, { name, body, asker: LOCAL }),
      close: async () => {
        await closeParts(parts, 0)
          .finally(() => audit.close())
          .finally(release)
      },
    }
  } catch (thrown) {
    await release()
    throw thrown
  }
}
