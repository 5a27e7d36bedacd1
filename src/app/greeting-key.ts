/** The key that the greeting of JSON clients carries. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { KeyValue } from '../store/store.js'

const PLACE = ['greeting-key'] as const

/** X25519 public key (RFC 7748), made on first start and kept in the store. @returns 64 upper-case hex digits @throws GatewayError */
export async function greetingKey(kv: KeyValue): Promise<string> {
  const kept = await kv.kvGet('meta', PLACE)
  const publicKey =
    kept === undefined
      ? await makeKey(kv)
      : createPublicKey(createPrivateKey({ key: Buffer.from(kept), format: 'der', type: 'pkcs8' }))
  const { x } = publicKey.export({ format: 'jwk' })
  return Buffer.from(x ?? '', 'base64url')
    .toString('hex')
    .toUpperCase()
}

async function makeKey(kv: KeyValue): Promise<KeyObject> {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  await kv.kvWrite([{ put: 'meta', key: PLACE, value: privateKey.export({ format: 'der', type: 'pkcs8' }) }])
  return publicKey
}
