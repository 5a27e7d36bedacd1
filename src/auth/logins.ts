/**
 * Logins that outlive their connection: those that asked for tokens, credentials of devices, and app passwords. The client holds the
 * secret of each, and the store its digest (secrets.ts, login-rows.ts).
 */
import { randomBytes } from 'node:crypto'
import { GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { KeyedSerial } from '../flow/serial.js'
import type { KeyValue } from '../store/store.js'
import { LoginRows, type StoredLogin } from './login-rows.js'
import { Revocations } from './revocations.js'
import {
  appSecret,
  digest,
  formatSecret,
  isSame,
  parseSecret,
  randomAppPassword,
  randomSecret,
  successor,
} from './secrets.js'
import { refusedToken, type TokenKeys } from './token-keys.js'

export interface Tokens {
  /** Access token, a JWT. */
  readonly token: string
  /** Refresh token, valid for one new pair. */
  readonly refresh: string
  /** When `token` expires, ms since the epoch. */
  readonly expiresAt: number
}

export interface LoginRules {
  /** A refresh token expires if it is not used for this long, ms. */
  readonly refreshLifetimeMs: number
  /** A refresh token that is used again within this time gives the same pair, ms; 0 = never. */
  readonly refreshGraceMs: number
  /** Most stored logins of one account. A further one replaces the one that was not seen for longest. */
  readonly perAccount: number
}

/** `seenAt` is updated when it is older than this, ms. */
const SEEN_EVERY_MS = 3_600_000

/** Looked for where there is no account, so that this takes as long. No user has it. */
const NOBODY = '000000000'

/** An app password names no login, so the login is named after it: by 96 bits of its digest, which tell nothing of it. */
const appIdOf = (hash: string): string => hash.slice(0, 16)

export const newLoginId = (): string => randomBytes(12).toString('base64url')

export class Logins {
  readonly revocations = new Revocations()
  readonly #rows: LoginRows
  readonly #turns = new KeyedSerial()

  constructor(
    kv: KeyValue,
    private readonly keys: TokenKeys,
    private readonly rules: LoginRules,
  ) {
    this.#rows = new LoginRows(kv)
  }

  /**
   * Stores a login that has just succeeded and gives it tokens.
   * @param check as for `mint`
   * @throws GatewayError STORE_UNAVAILABLE, STORE_FULL, or what `check` throws
   */
  async open(userId: UserId, id: string, device: string | undefined, check?: () => void): Promise<Tokens> {
    return this.#turns.run(userId, async () => {
      check?.()
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
   * Exchanges a refresh token for a new pair of tokens; the token is then spent. Within the grace time it gives the
   * same pair again, for two tabs of one browser that refresh at once. A token that was spent earlier is taken for a
   * stolen copy, and the login ends.
   * @returns without `tokens` if the login has ended for that reason
   * @throws GatewayError ERROR_AUTH {field: 'token'}
   */
  async refresh(token: string): Promise<{ userId: UserId; id: string; tokens?: Tokens }> {
    const parsed = parseSecret(token)
    if (parsed?.kind !== 'token') throw refusedToken('is not valid')
    const { userId, id, secret } = parsed
    return this.#turns.run(userId, async () => {
      const login = await this.#rows.find(userId, id)
      if (login?.kind !== 'token') throw refusedToken('is not valid')
      const hash = digest(secret)
      const isBefore = isSame(hash, login.hashBefore)
      if (isBefore && this.#isJustMade(login))
        return { userId, id, tokens: this.#again(userId, login, secret) }
      // The previous token is used again if the reply to its first use was lost. The pair in that reply was never used.
      if (isBefore || isSame(hash, login.hash))
        return { userId, id, tokens: await this.#issue(userId, login, secret) }
      await this.#remove(userId, [login])
      return { userId, id }
    })
  }

  /** The login of an access token. @throws GatewayError ERROR_AUTH {field: 'token'} */
  async verify(token: string): Promise<{ userId: UserId; login: StoredLogin }> {
    const { sub: userId, sid } = this.keys.verify(token)
    const login = typeof sid === 'string' ? await this.#rows.find(userId, sid) : undefined
    if (login === undefined) throw refusedToken('was revoked')
    await this.#seen(userId, login)
    return { userId, login }
  }

  /**
   * Makes a credential for one MQTT client id. It replaces the previous credential of this client id.
   * @param check called before anything is stored; throws if the caller's permissions were revoked meanwhile
   * @returns the login's id, the credential for CONNECT's password field, and the ids of the logins that it replaced
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
      await this.#remove(userId, replaced, true)
      await this.#rows.put(userId, { id, kind: 'device', device: clientId, hash: digest(secret), ...times })
      return {
        id,
        password: formatSecret({ kind: 'device', userId, id, secret }),
        replaced: replaced.map(one => one.id),
      }
    })
  }

  /** The login of a device's credential. @throws GatewayError ERROR_AUTH */
  async verifyCredential(credential: string): Promise<{ userId: UserId; login: StoredLogin }> {
    const parsed = parseSecret(credential)
    const login = parsed && (await this.#rows.find(parsed.userId, parsed.id))
    if (parsed === undefined || login?.kind !== 'device' || !isSame(digest(parsed.secret), login.hash))
      throw refusedToken('is not valid')
    await this.#seen(parsed.userId, login)
    return { userId: parsed.userId, login }
  }

  /**
   * Makes an app password. It replaces the previous one of this name.
   * @param check as for `mint`
   * @returns the login's id, the password, and the ids of the logins that it replaced
   */
  async mintApp(
    userId: UserId,
    name: string,
    check: () => void,
  ): Promise<{ id: string; password: string; replaced: string[] }> {
    return this.#turns.run(userId, async () => {
      check()
      const replaced = (await this.list(userId)).filter(one => one.kind === 'app' && one.name === name)
      const password = randomAppPassword()
      const hash = digest(appSecret(password))
      const id = appIdOf(hash)
      const now = Date.now()
      const times = { createdAt: now, seenAt: now, expiresAt: 0 }
      await this.#remove(userId, replaced, true)
      await this.#makeRoom(userId)
      await this.#rows.put(userId, { id, kind: 'app', name, hash, ...times })
      return { id, password, replaced: replaced.map(one => one.id) }
    })
  }

  /** The login of an app password. @param userId undefined: there is no such account @throws GatewayError ERROR_AUTH */
  async verifyApp(userId: UserId | undefined, password: string): Promise<StoredLogin> {
    const hash = digest(appSecret(password))
    const login = await this.#rows.find(userId ?? NOBODY, appIdOf(hash))
    if (userId === undefined || login?.kind !== 'app' || !isSame(hash, login.hash))
      throw new GatewayError('ERROR_AUTH')
    await this.#seen(userId, login)
    return login
  }

  /** The stored logins of an account that have not expired. */
  list(userId: UserId): Promise<StoredLogin[]> {
    return this.#rows.list(userId)
  }

  /**
   * Ends the logins that `which` accepts.
   * @param endLive closes their connections. Called after the revocation is recorded: logins in progress fail from then
   *   on, and open connections are among the live ones.
   * @param check called before anything ends; throws if the caller's permissions were revoked meanwhile
   * @returns the ids of the ended logins
   */
  async revoke(
    userId: UserId,
    which: (login: StoredLogin) => boolean,
    endLive: () => void,
    check?: () => void,
  ): Promise<string[]> {
    return this.#turns.run(userId, async () => {
      check?.()
      const ended = (await this.list(userId)).filter(which)
      await this.#remove(userId, ended)
      // Recorded even if nothing is stored: a login by password may be in progress.
      this.revocations.add(userId)
      endLive()
      return ended.map(({ id }) => id)
    })
  }

  /** Removes a login whose tokens were never delivered. This is not a revocation: other logins in progress go on. */
  async discard(userId: UserId, id: string): Promise<void> {
    await this.#turns.run(userId, () => this.#rows.remove(userId, [id]))
  }

  /** Whether a stored login exists and has not expired. */
  async has(userId: UserId, id: string): Promise<boolean> {
    return (await this.#rows.find(userId, id)) !== undefined
  }

  /** Removes expired logins. */
  sweep(now = Date.now()): Promise<void> {
    return this.#rows.sweep(now)
  }

  async #issue(
    userId: UserId,
    login: Omit<StoredLogin, 'hash' | 'seenAt' | 'expiresAt'>,
    secretBefore?: string,
  ): Promise<Tokens> {
    const { id, kind, device, createdAt } = login
    const salt = randomSecret()
    const secret = secretBefore === undefined ? randomSecret() : successor(secretBefore, salt)
    const now = Date.now()
    const tokens = this.#pair(userId, id, secret, now)
    await this.#rows.put(userId, {
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

  /** Makes the last pair again. @param secret the previous secret */
  #again(userId: UserId, { id, salt = '', pairAt }: StoredLogin, secret: string): Tokens {
    return this.#pair(userId, id, successor(secret, salt), pairAt)
  }

  /** @param now ms since the epoch. The same secret and time give the same pair, as long as the same key signs */
  #pair(userId: UserId, id: string, secret: string, now: number | undefined): Tokens {
    const { token, expiresAt } = this.keys.sign({ sub: userId, sid: id }, now)
    return { token, refresh: formatSecret({ kind: 'token', userId, id, secret }), expiresAt }
  }

  async #makeRoom(userId: UserId): Promise<void> {
    const all = (await this.list(userId)).sort((a, b) => b.seenAt - a.seenAt)
    const excess = all.slice(this.rules.perAccount - 1)
    await this.#rows.remove(
      userId,
      excess.map(({ id }) => id),
    )
  }

  async #seen(userId: UserId, { id, seenAt }: StoredLogin): Promise<void> {
    if (Date.now() - seenAt < SEEN_EVERY_MS) return
    await this.#turns.run(userId, async () => {
      const login = await this.#rows.find(userId, id)
      if (login !== undefined) await this.#rows.put(userId, { ...login, seenAt: Date.now() })
    })
  }

  async #remove(userId: UserId, logins: readonly StoredLogin[], isReplaced = false): Promise<void> {
    if (logins.length === 0) return
    await this.#rows.remove(
      userId,
      logins.map(({ id }) => id),
    )
    this.revocations.add(userId, isReplaced)
  }
}
