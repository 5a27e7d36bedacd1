/** The HPKE suites (RFC 9180) of encrypted packets: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and one of two AEADs. */
import type { AEADFactory, CipherSuite } from 'hpke'
import { AEADS, type AeadName, KEY_BYTES, NONCE_BYTES, openBytes, sealBytes, TAG_BYTES } from './aead.js'

export type Suites = Readonly<Record<AeadName, CipherSuite>>

let loaded: Promise<Suites> | undefined

/** Loads the library with the first packet: it takes 2 MB of memory, of which a gateway without encrypted packets needs none. */
export function suites(): Promise<Suites> {
  loaded ??= load()
  return loaded
}

async function load(): Promise<Suites> {
  const { CipherSuite, KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256 } = await import('hpke')
  const suite = (name: AeadName) =>
    new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, factory(name))
  return { 'aes-256-gcm': suite('aes-256-gcm'), 'chacha20-poly1305': suite('chacha20-poly1305') }
}

/** In the form that the library asks for. */
const factory =
  (name: AeadName): AEADFactory =>
  () => ({
    ...AEADS[name],
    type: 'AEAD',
    Nk: KEY_BYTES,
    Nn: NONCE_BYTES,
    Nt: TAG_BYTES,
    Seal: async (key, nonce, aad, plain) => sealBytes(name, key, nonce, plain, aad),
    Open: async (key, nonce, aad, sealed) => openBytes(name, key, nonce, sealed, aad),
  })
