/** The key that the greeting of JSON clients carries. */
import { ServerKey } from '../encryption/server-key.js'
import type { KeyValue } from '../store/store.js'

const PLACE = ['greeting-key'] as const

/** Made on first start and kept in the store. @throws GatewayError */
export async function greetingKey(kv: KeyValue): Promise<ServerKey> {
  const kept = await kv.kvGet('meta', PLACE)
  return kept === undefined ? renewGreetingKey(kv) : ServerKey.from(kept)
}

/** Makes another one, for good: clients that have noted the one before refuse this one. @throws GatewayError */
export async function renewGreetingKey(kv: KeyValue): Promise<ServerKey> {
  const key = ServerKey.generate()
  await kv.kvWrite([{ put: 'meta', key: PLACE, value: key.bytes() }])
  return key
}
