/**
 * Tokens of operators: `ma_`, an id and a secret of 32 random bytes, of which the store keeps the SHA-256 alone. Each has a
 * name, for the audit, and a role, which says what may be asked with it.
 */

import { randomBytes } from 'node:crypto'
import { GatewayError } from '../core/errors.js'
import { decodeRecord, encodeRecord } from '../core/record.js'
import type { KeyValue, KvKey } from '../store/store.js'
import { digest, isSame, randomSecret } from './secrets.js'

/** Each may what those before it may. */
export const ADMIN_ROLES = ['viewer', 'operator', 'admin'] as const
export type AdminRole = (typeof ADMIN_ROLES)[number]

export interface AdminToken {
  readonly name: string
  readonly role: AdminRole
  /** ms since the epoch. */
  readonly createdAt: number
  /** ms since the epoch; 0 = never. */
  readonly expiresAt: number
}

interface StoredToken extends AdminToken {
  readonly hash: string
}

const TOKEN = /^ma_([\w-]{16})_([\w-]{43})$/
const PREFIX = 'admin-token'
/** Each has its holder; that many are a mistake. */
const MAX_TOKENS = 1000

const keyOf = (id: string): KvKey => [PREFIX, id]
const decode = decodeRecord<StoredToken>

/** Every method may throw GatewayError STORE_UNAVAILABLE, and a write STORE_FULL. */
export class AdminTokens {
  constructor(private readonly kv: KeyValue) {}

  /** @returns the text of the token, which nobody can tell later @throws GatewayError BAD_FIELD if the name is taken */
  async create(token: Omit<AdminToken, 'createdAt'>): Promise<string> {
    const all = await this.list()
    const bad = (reason: string) => new GatewayError('BAD_FIELD', { field: 'name', reason })
    if (all.some(({ name }) => name === token.name)) throw bad('is taken')
    if (all.length >= MAX_TOKENS) throw bad(`there are ${MAX_TOKENS} tokens already`)
    const [id, secret] = [randomBytes(12).toString('base64url'), randomSecret()]
    const stored: StoredToken = { ...token, createdAt: Date.now(), hash: digest(secret) }
    const value = encodeRecord(stored)
    await this.kv.kvWrite([{ put: 'meta', key: keyOf(id), value }])
    return `ma_${id}_${secret}`
  }

  /** Also those that have expired. */
  async list(): Promise<AdminToken[]> {
    const found: AdminToken[] = []
    for await (const { value } of this.kv.kvRange('meta', [PREFIX])) {
      const { hash: _, ...token } = decode(value)
      found.push(token)
    }
    return found.sort((a, b) => a.createdAt - b.createdAt)
  }

  /** @returns whether there was one of this name */
  async revoke(name: string): Promise<boolean> {
    const keys: KvKey[] = []
    for await (const { key, value } of this.kv.kvRange('meta', [PREFIX]))
      if (decode(value).name === name) keys.push(key)
    if (keys.length > 0) await this.kv.kvWrite(keys.map(key => ({ remove: 'meta', key })))
    return keys.length > 0
  }

  /** @returns undefined for a token that is wrong, revoked or expired */
  async find(text: string): Promise<AdminToken | undefined> {
    const [, id, secret] = TOKEN.exec(text) ?? []
    if (id === undefined || secret === undefined) return undefined
    const value = await this.kv.kvGet('meta', keyOf(id))
    const token = value && decode(value)
    if (!isSame(digest(secret), token?.hash) || token === undefined) return undefined
    return token.expiresAt === 0 || token.expiresAt > Date.now() ? token : undefined
  }
}
