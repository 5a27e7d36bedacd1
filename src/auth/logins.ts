/**
 * Logins that outlive their connection, one row each in the store: those that asked for tokens, and devices' own
 * credentials. Secrets are 32 random bytes and kept as their SHA-256: nobody guesses one, so no bcrypt.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { USER_ID, type UserId } from '../core/model.js'
import { KeyedSerial } from '../flow/serial.js'
import type { KvKey, KvWrite, Store } from '../store/store.js'
import { Revocations } from './revocations.js'
import { refusedToken, type TokenKeys } from './token-keys.js'

export interface StoredLogin {
  readonly id: string
  /** `token`: a refresh token; `device`: a credential of an MQTT client id. */
  readonly kind: 'token' | 'device'
  /** Name or client id; undefined: the account's default device. */
  readonly device?: string
  readonly createdAt: number
  readonly seenAt: number
  /** ms; 0 = never. */
  readonly expiresAt: number
  /** SHA-256 of the secret that is good now, base64url. */
  readonly hash: string
  /** Of the one before it: good until its successor is used, since the reply that carried that may be lost. */
  readonly hashBefore?: string
  /** What the secret was made with from the one before it, base64url, and when: the same pair can be made again. */
  readonly salt?: string
  readonly pairAt?: number
}

export interface Tokens {
  readonly token: string
  readonly refresh: string
  /** When `token` expires, ms. */
  readonly expiresAt: number
}

export interface LoginRules {
  readonly refreshLifetimeMs: number
  /** For so long a refresh token that is used again gives the same pair, ms; 0: never. */
  readonly refreshGraceMs: number
  /** Sessions and credentials an account has at most; the one not seen for longest goes. */
  readonly perAccount: number
}

/** `mr_` refresh token, `md_` device credential; account, session, secret. */
const SECRET = new RegExp(`^m([rd])_(${USER_ID})_([\\w-]{16})_([\\w-]{43})$`)
/** How exactly it is kept when a session was last seen, ms. */
const SEEN_EVERY_MS = 3_600_000

interface Secret {
  readonly kind: StoredLogin['kind']
  readonly userId: UserId
  readonly id: string
  readonly secret: string
}

function parseSecret(text: string): Secret | undefined {
  const [, kind, userId, id, secret] = SECRET.exec(text) ?? []
  if (userId === undefined || id === undefined || secret === undefined) return undefined
  return { kind: kind === 'r' ? 'token' : 'device', userId, id, secret }
}

/** Whether a text has the form of a device's credential. */
export const isCredential = (text: string): boolean => parseSecret(text)?.kind === 'device'

const keyOf = (userId: UserId, id: string): KvKey => [userId, id]
const removal = (userId: UserId, id: string): KvWrite => ({ remove: 'sessions', key: keyOf(userId, id) })
const digest = (secret: string): string => createHash('sha256').update(secret).digest('base64url')
/** Who has the one before it alone, or the store alone, cannot make it. */
const successor = (secret: string, salt: string): string =>
  createHmac('sha256', Buffer.from(salt, 'base64url')).update(secret).digest('base64url')
const randomSecret = (): string => randomBytes(32).toString('base64url')
const isSame = (a: string, b: string | undefined): boolean =>
  b !== undefined && a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
export const newLoginId = (): string => randomBytes(12).toString('base64url')

export class Logins {
  readonly revocations = new Revocations()
  readonly #turns = new KeyedSerial()

  constructor(
    private readonly store: Store,
    private readonly keys: TokenKeys,
    private readonly rules: LoginRules,
  ) {}

  /** A session with tokens for a login that has just succeeded. @param id its session id from now on */
  async open(userId: UserId, id: string, device: string | undefined): Promise<Tokens> {
    return this.#turns.run(userId, async () => {
      await this.#makeRoom(userId)
      const now = Date.now()
      return this.#issue(userId, {
        id,
        kind: 'token',
        ...(device !== undefined && { device }),
        createdAt: now,
      })
    })
  }

  /**
   * A new pair for a refresh token, which is then spent; within the grace the same pair once more, for two tabs of one
   * browser that refresh at once. One that was spent before is a copy: the session ends.
   * @throws GatewayError ERROR_AUTH {field: 'token'}
   */
  async refresh(token: string): Promise<{ userId: UserId; id: string; tokens?: Tokens }> {
    const parsed = parseSecret(token)
    if (parsed?.kind !== 'token') throw refusedToken('is not valid')
    const { userId, id, secret } = parsed
    return this.#turns.run(userId, async () => {
      const session = await this.#find(userId, id)
      if (session?.kind !== 'token') throw refusedToken('is not valid')
      const hash = digest(secret)
      const isBefore = isSame(hash, session.hashBefore)
      if (isBefore && this.#isJustMade(session))
        return { userId, id, tokens: await this.#again(userId, session, secret) }
      // The one before it comes when a reply was lost: the pair in it was never used, and goes.
      if (isBefore || isSame(hash, session.hash))
        return { userId, id, tokens: await this.#issue(userId, session, secret) }
      await this.#remove(userId, [session])
      return { userId, id }
    })
  }

  /** The session of an access token. @throws GatewayError ERROR_AUTH {field: 'token'} */
  async verify(token: string): Promise<{ userId: UserId; session: StoredLogin }> {
    const { sub: userId = '', sid } = await this.keys.verify(token)
    const session = typeof sid === 'string' ? await this.#find(userId, sid) : undefined
    if (session === undefined) throw refusedToken('was revoked')
    await this.#seen(userId, session)
    return { userId, session }
  }

  /**
   * A credential for one MQTT client id; one that it had before ends.
   * @param check called before anything is stored; throws where the one who asks may no more
   */
  async mint(
    userId: UserId,
    clientId: string,
    check: () => void,
  ): Promise<{ id: string; password: string; replaced: string[] }> {
    return this.#turns.run(userId, async () => {
      check()
      const before = await this.list(userId)
      const replaced = before.filter(({ kind, device }) => kind === 'device' && device === clientId)
      await this.#makeRoom(userId)
      const id = newLoginId()
      const secret = randomSecret()
      const now = Date.now()
      const times = { createdAt: now, seenAt: now, expiresAt: 0 }
      await this.#remove(userId, replaced)
      await this.#put(userId, { id, kind: 'device', device: clientId, hash: digest(secret), ...times })
      return { id, password: `md_${userId}_${id}_${secret}`, replaced: replaced.map(one => one.id) }
    })
  }

  /** The session of a device's credential. @throws GatewayError ERROR_AUTH */
  async verifyCredential(credential: string): Promise<{ userId: UserId; session: StoredLogin }> {
    const parsed = parseSecret(credential)
    const session = parsed && (await this.#find(parsed.userId, parsed.id))
    if (parsed === undefined || session?.kind !== 'device' || !isSame(digest(parsed.secret), session.hash))
      throw refusedToken('is not valid')
    await this.#seen(parsed.userId, session)
    return { userId: parsed.userId, session }
  }

  async list(userId: UserId): Promise<StoredLogin[]> {
    const now = Date.now()
    const found: StoredLogin[] = []
    for await (const { value } of this.store.kvRange('sessions', [userId])) found.push(decode(value))
    return found.filter(session => isGood(session, now))
  }

  /**
   * Ends the sessions that `which` picks.
   * @param endLive ends their connections. Called in the moment from which on what was under way before is let in no
   *   more: whoever is not there yet will not be, and whoever is begins nothing else.
   * @param check called before anything ends; throws where the one who asks may no more
   * @returns their ids
   */
  async revoke(
    userId: UserId,
    which: (session: StoredLogin) => boolean,
    endLive: () => void,
    check?: () => void,
  ): Promise<string[]> {
    return this.#turns.run(userId, async () => {
      check?.()
      const ended = (await this.list(userId)).filter(which)
      await this.#remove(userId, ended)
      // Also where nothing is stored: a login by password may be on its way.
      this.revocations.add(userId)
      endLive()
      return ended.map(({ id }) => id)
    })
  }

  /** Takes back what `open` gave to nobody: that takes no rights away. */
  async discard(userId: UserId, id: string): Promise<void> {
    await this.#turns.run(userId, () => this.store.kvWrite([removal(userId, id)]))
  }

  /** Whether a stored session is still good. */
  async has(userId: UserId, id: string): Promise<boolean> {
    return (await this.#find(userId, id)) !== undefined
  }

  /** Forgets what has expired. */
  async sweep(now = Date.now()): Promise<void> {
    for await (const { key, value } of this.store.kvRange('sessions', []))
      if (!isGood(decode(value), now)) await this.store.kvWrite([{ remove: 'sessions', key }])
  }

  async #issue(
    userId: UserId,
    session: Omit<StoredLogin, 'hash' | 'seenAt' | 'expiresAt'>,
    secretBefore?: string,
  ): Promise<Tokens> {
    const { id, kind, device, createdAt } = session
    const salt = randomSecret()
    const secret = secretBefore === undefined ? randomSecret() : successor(secretBefore, salt)
    const now = Date.now()
    const tokens = await this.#pair(userId, id, secret, now)
    await this.#put(userId, {
      id,
      kind,
      ...(device !== undefined && { device }),
      createdAt,
      seenAt: now,
      expiresAt: now + this.rules.refreshLifetimeMs,
      hash: digest(secret),
      ...(secretBefore !== undefined && { hashBefore: digest(secretBefore), salt, pairAt: now }),
    })
    return tokens
  }

  #isJustMade({ pairAt }: StoredLogin): boolean {
    const ageMs = Date.now() - (pairAt ?? 0)
    return ageMs >= 0 && ageMs < this.rules.refreshGraceMs
  }

  /** The pair that was made last, from the secret before it. */
  async #again(userId: UserId, { id, salt = '', pairAt }: StoredLogin, secret: string): Promise<Tokens> {
    return this.#pair(userId, id, successor(secret, salt), pairAt)
  }

  /** The same for the same moment, for as long as the key that signs is the same. */
  async #pair(userId: UserId, id: string, secret: string, now: number | undefined): Promise<Tokens> {
    const { token, expiresAt } = await this.keys.sign({ sub: userId, sid: id }, now)
    return { token, refresh: `mr_${userId}_${id}_${secret}`, expiresAt }
  }

  async #makeRoom(userId: UserId): Promise<void> {
    const all = (await this.list(userId)).sort((a, b) => b.seenAt - a.seenAt)
    const excess = all.slice(this.rules.perAccount - 1)
    if (excess.length > 0) await this.store.kvWrite(excess.map(({ id }) => removal(userId, id)))
  }

  async #seen(userId: UserId, { id, seenAt }: StoredLogin): Promise<void> {
    if (Date.now() - seenAt < SEEN_EVERY_MS) return
    await this.#turns.run(userId, async () => {
      const session = await this.#find(userId, id)
      if (session !== undefined) await this.#put(userId, { ...session, seenAt: Date.now() })
    })
  }

  async #find(userId: UserId, id: string): Promise<StoredLogin | undefined> {
    const value = await this.store.kvGet('sessions', keyOf(userId, id))
    const session = value && decode(value)
    return session !== undefined && isGood(session, Date.now()) ? session : undefined
  }

  async #put(userId: UserId, session: StoredLogin): Promise<void> {
    const value = Buffer.from(JSON.stringify(session))
    await this.store.kvWrite([{ put: 'sessions', key: keyOf(userId, session.id), value }])
  }

  async #remove(userId: UserId, sessions: readonly StoredLogin[]): Promise<void> {
    if (sessions.length === 0) return
    await this.store.kvWrite(sessions.map(({ id }) => removal(userId, id)))
    this.revocations.add(userId)
  }
}

const decode = (value: Uint8Array): StoredLogin => JSON.parse(Buffer.from(value).toString())
const isGood = ({ expiresAt }: StoredLogin, now: number): boolean => expiresAt === 0 || expiresAt > now
