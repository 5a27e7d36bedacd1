/** An X25519 key pair of the server (RFC 7748): the one of the greeting, or one for a single connection. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { CryptoKey, KeyPair } from 'hpke'
import { suites } from './suites.js'

export class ServerKey {
  /** 64 upper-case hex digits. */
  readonly public: string
  readonly #private: KeyObject
  #pair: Promise<KeyPair<CryptoKey>> | undefined

  constructor(privateKey: KeyObject) {
    this.#private = privateKey
    this.public = hex(privateKey, 'x').toUpperCase()
  }

  static generate(): ServerKey {
    return new ServerKey(generateKeyPairSync('x25519').privateKey)
  }

  /** @param kept what `bytes` returned */
  static from(kept: Uint8Array): ServerKey {
    return new ServerKey(createPrivateKey({ key: Buffer.from(kept), format: 'der', type: 'pkcs8' }))
  }

  /** The private key as PKCS #8, to be kept. */
  bytes(): Buffer {
    return this.#private.export({ format: 'der', type: 'pkcs8' })
  }

  /** As the library takes it. */
  pair(): Promise<KeyPair<CryptoKey>> {
    this.#pair ??= this.#import()
    return this.#pair
  }

  async #import(): Promise<KeyPair<CryptoKey>> {
    // The two suites have the same keys.
    const { 'aes-256-gcm': suite } = await suites()
    const [privateKey, publicKey] = await Promise.all([
      suite.DeserializePrivateKey(Buffer.from(hex(this.#private, 'd'), 'hex')),
      suite.DeserializePublicKey(Buffer.from(this.public, 'hex')),
    ])
    return { privateKey, publicKey } as KeyPair<CryptoKey>
  }
}

/** @param part `x`, the public key, or `d`, the private one (RFC 8037) */
const hex = (key: KeyObject, part: 'x' | 'd'): string =>
  Buffer.from(key.export({ format: 'jwk' })[part] ?? '', 'base64url').toString('hex')
