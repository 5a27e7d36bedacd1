/**
 * Whose a user name is. What a name looks like is claimed by one account in the store, before the account has it and while it
 * has it; and for some time after it was given up, so that nobody else gets what was meant for its owner.
 */
import { GatewayError } from '../core/errors.js'
import type { User, UserId } from '../core/model.js'
import { recentMap } from '../core/recent.js'
import { decodeRecord, encodeRecord } from '../core/record.js'
import type { SharedRecord, SharedRecords, Users } from '../store/store.js'
import { isSameUserName, maybeUserName, type UserName, userNameOf } from './user-name.js'

export interface UserNameRules {
  /** Names that nobody may take. */
  readonly reserved: readonly string[]
  /** How long a name that was given up is kept for its owner, ms; longer than CACHED_MS. */
  readonly holdMs: number
}

interface Claim {
  /** Until when it is good in any case, ms since the epoch. After that, it is good while its account has such a name. */
  readonly until: number
}

/** From the claim of a name until its account has it. */
const PENDING_MS = 60_000
/** Another gateway on the same store may have changed a name since; until it is anybody else's, more time passes. */
const CACHED_MS = 30_000
const MAX_CACHED = 10_000
/** Names that an account keeps from others beside the one that it has, each by one to three keys. */
const MAX_HELD_KEYS = 12
/** Another gateway changed the record between reading and writing it. */
const TRIES = 5
/** Accounts read at a time. */
const PAGE = 500
/** Where it is noted up to which account names are claimed; no digest. */
const INDEXED = 'indexed'
/** An id that no account has. */
const NOBODY = '000000000'

const until = ({ value }: SharedRecord): number => decodeRecord<Claim>(value).until
const claimOf = (userId: UserId | '', at: number) => ({ userId, value: encodeRecord({ until: at }) })
/** In capitals, too: ADM1N looks like ADMIN, and adm1n like admln. */
const keysOf = (names: readonly string[]): ReadonlySet<string> =>
  new Set(
    names
      .flatMap(name => [name, name.toUpperCase()])
      .flatMap(name => {
        const { keys = [], bareKeys = [] } = maybeUserName(name) ?? {}
        return [...keys, ...bareKeys]
      }),
  )
/** Kept for an account that was deleted, and so by nobody. */
const heldKey = (key: string): string => `held ${key}`

export class UserNames {
  #reserved: ReadonlySet<string> | undefined
  /** As it was written → whose it is. */
  readonly #cache = recentMap<string, UserId>(MAX_CACHED, CACHED_MS)
  #changes = 0
  #indexing: Promise<void> | undefined

  constructor(
    private readonly users: Users,
    private readonly shared: SharedRecords,
    private readonly rules: UserNameRules,
  ) {}

  /**
   * @param mayBeReserved for operators
   * @throws GatewayError BAD_FIELD (username)
   */
  read(text: string, mayBeReserved = false): UserName {
    const name = userNameOf(text)
    const reserved = this.#reserved ?? keysOf(this.rules.reserved)
    this.#reserved = reserved
    if (!mayBeReserved && [...name.keys, ...name.bareKeys].some(key => reserved.has(key)))
      throw new GatewayError('BAD_FIELD', { field: 'username', reason: 'is reserved' })
    return name
  }

  /**
   * Runs `work`, which gives the account this name; nobody else has it from then on.
   * @throws GatewayError ERROR_EXIST_USER (username); what `work` throws
   */
  async take<T>(userId: UserId, name: UserName, work: () => Promise<T>): Promise<T> {
    await this.#indexed()
    const claimed: string[] = []
    try {
      for (const key of name.keys) if (await this.#claim(key, userId)) claimed.push(key)
      return await work()
    } catch (thrown) {
      // If this fails, too, the claims are void when their time is over.
      await this.#unclaim(claimed, userId).catch(() => undefined)
      throw thrown
    } finally {
      this.#forget()
    }
  }

  /**
   * Keeps the names that an account has from others for some time, before it gives them up.
   * @throws GatewayError TOO_MANY_CHANGES if it keeps too many
   */
  async hold({ id, username }: User): Promise<void> {
    const own: readonly string[] = maybeUserName(username)?.keys ?? []
    const now = Date.now()
    let held = 0
    for (const key of await this.shared.sharedOf('names', id)) {
      const claim = await this.shared.sharedGet('names', key)
      if (claim?.userId !== id || own.includes(key)) continue
      if (until(claim) > now) held++
      else await this.shared.sharedSwap('names', key, claim, undefined)
    }
    if (held + own.length > MAX_HELD_KEYS)
      throw new GatewayError('TOO_MANY_CHANGES', { field: 'username', reason: 'changed too often' })
    for (const key of own) await this.#extend(key, id, now + this.rules.holdMs)
    this.#forget()
  }

  /** The same of an account that is about to be deleted: nothing tells whose the names were. */
  async holdDeleted(id: UserId): Promise<void> {
    const at = Date.now() + this.rules.holdMs
    for (const key of await this.shared.sharedOf('names', id)) {
      const held = await this.shared.sharedGet('names', heldKey(key))
      await this.shared.sharedSwap('names', heldKey(key), held, claimOf('', at))
    }
    this.#forget()
  }

  /** The account that has the name; as much work where none has. */
  async find(text: string): Promise<User | undefined> {
    const name = maybeUserName(text)
    if (name === undefined) return undefined
    await this.#indexed()
    const claim = await this.shared.sharedGet('names', name.keys[0])
    const user = await this.users.findUser(claim?.userId || NOBODY)
    const [exact] = await this.users.findUsers({ username: text }, 1)
    // Names of accounts from before may differ in case alone: who asks for one gets no other.
    const isOther = exact !== undefined && exact.id !== user?.id
    return user !== undefined && !isOther && isSameUserName(user.username, text) ? user : undefined
  }

  /** Whose the name was a moment ago; undefined: `idOf` must be asked. */
  known(text: string): UserId | undefined {
    return this.#cache.get(text)
  }

  async idOf(text: string): Promise<UserId | undefined> {
    const changes = this.#changes
    const id = (await this.find(text))?.id
    if (id !== undefined && changes === this.#changes) this.#cache.set(text, id)
    return id
  }

  /** Claims the name of an account that has it already, if nobody else did. */
  async adopt({ id, username }: Pick<User, 'id' | 'username'>): Promise<void> {
    for (const key of maybeUserName(username)?.keys ?? [])
      await this.shared.sharedSwap('names', key, undefined, claimOf(id, 0))
  }

  /** Removes what is kept for nobody any more. */
  async sweep(now = Date.now()): Promise<void> {
    for (const key of await this.shared.sharedOf('names', '')) {
      const held = await this.shared.sharedGet('names', key)
      if (held !== undefined && key !== INDEXED && until(held) <= now)
        await this.shared.sharedSwap('names', key, held, undefined)
    }
  }

  /** @returns whether it was not claimed before @throws GatewayError ERROR_EXIST_USER */
  async #claim(key: string, userId: UserId): Promise<boolean> {
    for (let i = 0; i < TRIES; i++) {
      const now = Date.now()
      const held = await this.shared.sharedGet('names', heldKey(key))
      if (held !== undefined && until(held) > now) break
      const found = await this.shared.sharedGet('names', key)
      if (found !== undefined && found.userId !== userId && (await this.#isGood(found, now))) break
      const isOwn = found?.userId === userId
      const at = Math.max(isOwn ? until(found) : 0, now + PENDING_MS)
      if (await this.shared.sharedSwap('names', key, found, claimOf(userId, at))) return !isOwn
    }
    throw new GatewayError('ERROR_EXIST_USER', { field: 'username', reason: 'taken' })
  }

  async #isGood(claim: SharedRecord, now: number): Promise<boolean> {
    if (until(claim) > now) return true
    const owner = claim.userId === '' ? undefined : await this.users.findUser(claim.userId)
    return maybeUserName(owner?.username ?? '')?.keys.includes(claim.key) ?? false
  }

  async #unclaim(keys: readonly string[], userId: UserId): Promise<void> {
    for (const key of keys) {
      const claim = await this.shared.sharedGet('names', key)
      if (claim?.userId === userId) await this.shared.sharedSwap('names', key, claim, undefined)
    }
  }

  async #extend(key: string, userId: UserId, at: number): Promise<void> {
    const claim = await this.shared.sharedGet('names', key)
    if (claim === undefined || claim.userId === userId)
      await this.shared.sharedSwap('names', key, claim, claimOf(userId, at))
  }

  #forget(): void {
    this.#changes++
    this.#cache.clear()
  }

  /** Resolves when names are claimed that accounts have from versions without claims, or from one that still runs. */
  #indexed(): Promise<void> {
    this.#indexing ??= this.#index().catch(thrown => {
      this.#indexing = undefined
      throw thrown
    })
    return this.#indexing
  }

  /** Oldest first, so that of two names that look the same the older one counts. Another gateway may do the same. */
  async #index(): Promise<void> {
    for (;;) {
      const mark = await this.shared.sharedGet('names', INDEXED)
      const after = mark && Buffer.from(mark.value).toString()
      const page = await this.users.findUsers({}, PAGE, after)
      const last = page.at(-1)
      if (last === undefined) return
      for (const user of page) await this.adopt(user)
      await this.shared.sharedSwap('names', INDEXED, mark, { userId: '', value: Buffer.from(last.id) })
    }
  }
}
