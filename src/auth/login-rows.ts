/** Stored logins: one row per login in the store, by account and login id. */

import type { UserId } from '../core/model.js'
import { decodeRecord, encodeRecord } from '../core/record.js'
import type { KeyValue, KvKey, KvWrite } from '../store/store.js'

/** A login that outlives its connection. Times are ms since the epoch. */
export interface StoredLogin {
  readonly id: string
  /** `token`: it has a refresh token; `device`: it is the credential of an MQTT client id; `app`: an app password. */
  readonly kind: 'token' | 'device' | 'app'
  /** Of an app password, as its owner named it. */
  readonly name?: string
  /** Device name or client id; undefined = the account's default device. */
  readonly device?: string
  readonly createdAt: number
  readonly seenAt: number
  /** 0 = never. */
  readonly expiresAt: number
  /** Digest of the current secret. */
  readonly hash: string
  /**
   * Digest of the previous secret. It stays valid until the current one is used, since the reply with that may have
   * been lost.
   */
  readonly hashBefore?: string
  /**
   * The salt that made the secret from the previous one, and when: so that the same pair of tokens can be made again.
   */
  readonly salt?: string
  readonly pairAt?: number
}

const decode = decodeRecord<StoredLogin>
const isGood = ({ expiresAt }: StoredLogin, now: number): boolean => expiresAt === 0 || expiresAt > now
const keyOf = (userId: UserId, id: string): KvKey => [userId, id]
const removal = (userId: UserId, id: string): KvWrite => ({ remove: 'sessions', key: keyOf(userId, id) })

/** Every method may throw GatewayError STORE_UNAVAILABLE, and a write STORE_FULL. */
export class LoginRows {
  constructor(private readonly kv: KeyValue) {}

  /** @returns undefined if there is none or it has expired */
  async find(userId: UserId, id: string): Promise<StoredLogin | undefined> {
    const value = await this.kv.kvGet('sessions', keyOf(userId, id))
    const login = value && decode(value)
    return login !== undefined && isGood(login, Date.now()) ? login : undefined
  }

  /** The logins of an account that have not expired. */
  async list(userId: UserId): Promise<StoredLogin[]> {
    const now = Date.now()
    const found: StoredLogin[] = []
    for await (const { value } of this.kv.kvRange('sessions', [userId])) found.push(decode(value))
    return found.filter(login => isGood(login, now))
  }

  async put(userId: UserId, login: StoredLogin): Promise<void> {
    const value = encodeRecord(login)
    await this.kv.kvWrite([{ put: 'sessions', key: keyOf(userId, login.id), value }])
  }

  async remove(userId: UserId, ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.kv.kvWrite(ids.map(id => removal(userId, id)))
  }

  /** Removes expired logins. @param now ms since the epoch */
  async sweep(now: number): Promise<void> {
    for await (const { key, value } of this.kv.kvRange('sessions', []))
      if (!isGood(decode(value), now)) await this.kv.kvWrite([{ remove: 'sessions', key }])
  }
}
