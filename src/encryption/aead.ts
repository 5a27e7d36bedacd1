/** The two AEADs of encrypted packets, by Node.js' own OpenSSL: no thread and no wait a packet. */
import { createCipheriv, createDecipheriv } from 'node:crypto'

export const KEY_BYTES = 32
export const NONCE_BYTES = 12
export const TAG_BYTES = 16

/** As Node.js and as packets name them, with their numbers (RFC 9180, 7.3). ChaCha20-Poly1305 is not in the WebCrypto of Node.js 20. */
export const AEADS = {
  'aes-256-gcm': { id: 2, name: 'AES-256-GCM' },
  'chacha20-poly1305': { id: 3, name: 'ChaCha20Poly1305' },
} as const

export type AeadName = keyof typeof AEADS

/** Both ciphers have the same options; the types of Node.js have an overload for each. */
const cipherName = (aead: AeadName) => aead as 'aes-256-gcm'
const OPTIONS = { authTagLength: TAG_BYTES }

/** @param nonce never used before with `key` @returns ciphertext and tag */
export function sealBytes(
  aead: AeadName,
  key: Uint8Array,
  nonce: Uint8Array,
  plain: Uint8Array,
  aad?: Uint8Array,
): Buffer {
  const cipher = createCipheriv(cipherName(aead), key, nonce, OPTIONS)
  if (aad !== undefined && aad.length > 0) cipher.setAAD(aad)
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** @param sealed ciphertext and tag @throws where they are not what `sealBytes` made with the same key, nonce and `aad` */
export function openBytes(
  aead: AeadName,
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  aad?: Uint8Array,
): Buffer {
  const end = sealed.length - TAG_BYTES
  if (end < 0) throw new Error('shorter than a tag')
  const decipher = createDecipheriv(cipherName(aead), key, nonce, OPTIONS)
  if (aad !== undefined && aad.length > 0) decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(end))
  const plain = decipher.update(sealed.subarray(0, end))
  decipher.final()
  return plain
}
