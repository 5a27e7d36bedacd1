/** Replacing the key of tokens from the command line. */
import { TokenKeys } from '../auth/token-keys.js'
import { type Config, ConfigError } from '../config/config.js'
import { openAuditOf } from './line-files.js'
import { keyOptions } from './options.js'
import { hasStore, makeStore } from './stores.js'

/**
 * Replaces the key of tokens in the store of a gateway that does not run.
 * @param old whether tokens that the keys before it signed are still good
 * @throws ConfigError if there is no store, GatewayError if a gateway has it open
 */
export async function rotateKeys(config: Config, old: 'verify' | 'refuse'): Promise<void> {
  if (!hasStore(config)) throw new ConfigError([`data.dir: no store in ${config.data.dir}`])
  const store = await makeStore(config)
  try {
    await store.open()
    const keys = new TokenKeys(store.kv, keyOptions(config.tokens))
    await keys.open()
    const audit = await openAuditOf(config, {
      onError: () => undefined,
      onDropped: () => undefined,
    })
    await keys.rotate(Date.now(), old)
    audit.record({ event: 'keys.rotated' })
    await audit.close()
  } finally {
    await store.close()
  }
}
