/** The keys of a store from the command line: that of tokens, and that of the greeting. */
import { TokenKeys } from '../auth/token-keys.js'
import { type Config, ConfigError } from '../config/config.js'
import type { AuditEvent } from '../core/audit.js'
import type { Store } from '../store/store.js'
import { greetingKey, renewGreetingKey } from './greeting-key.js'
import { openAuditOf } from './line-files.js'
import { keyOptions } from './options.js'
import { hasStore, makeStore } from './stores.js'

/**
 * Replaces the key of tokens in the store of a gateway that does not run.
 * @param old whether tokens that the keys before it signed are still good
 * @throws ConfigError if there is no store, GatewayError if a gateway has it open
 */
export async function rotateKeys(config: Config, old: 'verify' | 'refuse'): Promise<void> {
  await withStore(config, async store => {
    const keys = new TokenKeys(store.kv, keyOptions(config.tokens))
    await keys.open()
    await audited(config, 'keys.rotated', () => keys.rotate(Date.now(), old))
  })
}

/** @returns the public key of the greeting, 64 upper-case hex digits @throws as above */
export async function showGreetingKey(config: Config): Promise<string> {
  return withStore(config, async store => (await greetingKey(store.kv)).public)
}

/** Replaces the key of the greeting. @returns the new public key @throws as above */
export async function rotateGreetingKey(config: Config): Promise<string> {
  return withStore(config, async store => {
    const renew = () => renewGreetingKey(store.kv)
    return (await audited(config, 'greeting-key.rotated', renew)).public
  })
}

async function withStore<T>(config: Config, use: (store: Store) => Promise<T>): Promise<T> {
  if (!hasStore(config)) throw new ConfigError([`data.dir: no store in ${config.data.dir}`])
  const store = await makeStore(config)
  try {
    await store.open()
    return await use(store)
  } finally {
    await store.close()
  }
}

/** The audit file is opened before anything is changed. */
async function audited<T>(config: Config, event: AuditEvent, change: () => Promise<T>): Promise<T> {
  const audit = await openAuditOf(config, { onError: () => undefined, onDropped: () => undefined })
  const result = await change()
  audit.record({ event })
  await audit.close()
  return result
}
