/**
 * What a letter lets its reader do, once and for a while: set a new password, or show that mail to an address arrives. A letter
 * has a link with a secret of 256 bits, and a code for people who would rather type. The store keeps only their SHA-256.
 */

import { GatewayError } from '../core/errors.js'
import { isUserId, USER_ID, type UserId } from '../core/model.js'
import { decodeRecord, encodeRecord } from '../core/record.js'
import { asMeant, randomCode } from '../core/typed-code.js'
import { KeyedSerial } from '../flow/serial.js'
import type { KeyValue, KvKey, KvWrite } from '../store/store.js'
import { digest, isSame, randomSecret } from './secrets.js'

/**
 * `reset`: a new password. `verify`: the account's address. `change`: a new address for the account. `undo`: the address
 * that the account had.
 */
export type ProofKind = 'reset' | 'verify' | 'change' | 'undo'

/** Void when somebody else may have asked for them. `undo` stays: it is the way back of the owner before. */
export const ASKED: readonly ProofKind[] = ['reset', 'verify', 'change']

const LETTERS = { r: 'reset', v: 'verify', c: 'change', u: 'undo' } as const
const LETTER_OF = { reset: 'r', verify: 'v', change: 'c', undo: 'u' } as const
const TOKEN = new RegExp(`^mp([rvcu])_(${USER_ID})_([\\w-]{43})$`)

/**
 * 50 bits: whoever reads the digest and tries all codes is still at it when the code has expired, and a guesser has few
 * guesses (limits.failedLogins).
 */
const CODE_LENGTH = 10

/** A proof as it is stored. */
export interface StoredProof {
  readonly kind: ProofKind
  /** Digests. */
  readonly secret: string
  readonly code: string
  /** The address that it is about: the one that it was sent to; of `undo`, the one that comes back. */
  readonly email: string
  /** ms since the epoch. */
  readonly createdAt: number
  readonly expiresAt: number
}

/** Of a proof that is to be made. */
export interface NewProof {
  readonly email: string
  readonly lifetimeMs: number
  readonly isWanted?: () => boolean
}

export type CancelListener = (userId: UserId, kinds: readonly ProofKind[]) => Promise<void>

export interface Proof {
  /** For the link. */
  readonly token: string
  /** For people: `ABCDE-FGHJK`. */
  readonly code: string
}

/** Names a proof, by its link or by its code. */
export type Named =
  | { readonly token: string }
  | { readonly userId: UserId | undefined; readonly code: string }

/** A proof in the turn in which it is used. */
export interface Spendable extends StoredProof {
  readonly userId: UserId
  /** Makes it void. Call it before what it is good for is done. */
  readonly spend: () => Promise<void>
}

/** Looked for where there is no account, so that this takes as long. No user has it. */
const NOBODY = '000000000'

const refused = (field: 'token' | 'code') =>
  new GatewayError('ERROR_AUTH', { field, reason: 'is wrong, was used, or has expired' })

export class Proofs {
  /** Uses of proofs, one at a time per account: that is what makes them good for one use. */
  readonly #turns = new KeyedSerial()
  #onCancel: CancelListener = async () => undefined

  constructor(private readonly kv: KeyValue) {}

  /**
   * A new one takes the place of the one before of the same kind; of `undo` there may be several.
   * @param email see StoredProof @param lifetimeMs from now on
   * @param isWanted asked when it is this one's turn: what was cancelled meanwhile is not made
   * @returns undefined if it is not wanted any more
   */
  async make(
    userId: UserId,
    kind: ProofKind,
    { email, lifetimeMs, isWanted = () => true }: NewProof,
  ): Promise<Proof | undefined> {
    const secret = randomSecret()
    const code = randomCode(CODE_LENGTH)
    const createdAt = Date.now()
    const hashes = { secret: digest(secret), code: digest(code) }
    const proof: StoredProof = { kind, ...hashes, email, createdAt, expiresAt: createdAt + lifetimeMs }
    const isMade = await this.#turns.run(userId, async () => {
      if (!isWanted()) return false
      await this.kv.kvWrite([putOf(userId, proof)])
      return true
    })
    if (!isMade) return undefined
    const half = CODE_LENGTH / 2
    return {
      token: `mp${LETTER_OF[kind]}_${userId}_${secret}`,
      code: `${code.slice(0, half)}-${code.slice(half)}`,
    }
  }

  /**
   * Checks a proof and does the work for which it is good, which spends it.
   * @param kinds of which it must be one
   * @throws GatewayError ERROR_AUTH {field: 'token' | 'code'}, or what `work` throws
   */
  async use<T>(
    named: Named,
    kinds: readonly ProofKind[],
    work: (proof: Spendable) => Promise<T>,
  ): Promise<T> {
    const field = 'token' in named ? 'token' : 'code'
    const userId = 'token' in named ? ownerOf(named.token) : named.userId
    return this.#turns.run(userId ?? NOBODY, async () => {
      const proof = await this.#find(named, kinds)
      if (userId === undefined || proof === undefined) throw refused(field)
      const spend = () => this.kv.kvWrite([{ remove: 'meta', key: keyOf(userId, proof) }])
      return work({ ...proof, userId, spend })
    })
  }

  /** Whether a link is still good. Changes nothing. */
  async isGood(token: string, kinds: readonly ProofKind[]): Promise<boolean> {
    return (await this.#find({ token }, kinds)) !== undefined
  }

  /** All that have not expired. */
  async list(userId: UserId): Promise<StoredProof[]> {
    const found: StoredProof[] = []
    for await (const { value } of this.kv.kvRange('meta', ['proof', userId])) found.push(decode(value))
    return found.filter(({ expiresAt }) => expiresAt > Date.now())
  }

  /**
   * `listener` is called before proofs of these kinds are made void. It takes back letters that wait, since each would make
   * a new one.
   */
  onCancel(listener: CancelListener): void {
    this.#onCancel = listener
  }

  /** Makes those of these kinds void, those that letters on their way would bring, too. */
  async cancel(userId: UserId, kinds: readonly ProofKind[]): Promise<void> {
    await this.#turns.run(userId, () => this.cancelNow(userId, kinds))
  }

  /** The same within the work of `use`, whose turn it is. */
  async cancelNow(userId: UserId, kinds: readonly ProofKind[]): Promise<void> {
    await this.#onCancel(userId, kinds)
    const isMeant = ({ kind }: StoredProof) => kinds.includes(kind)
    const writes = (await this.list(userId)).filter(isMeant).map(proof => removalOf(userId, proof))
    if (writes.length > 0) await this.kv.kvWrite(writes)
  }

  /** Removes those that have expired. @param now ms since the epoch */
  async sweep(now = Date.now()): Promise<void> {
    for await (const { key, value } of this.kv.kvRange('meta', ['proof']))
      if (decode(value).expiresAt <= now) await this.kv.kvWrite([{ remove: 'meta', key }])
  }

  async #find(named: Named, kinds: readonly ProofKind[]): Promise<StoredProof | undefined> {
    if ('token' in named) return this.#byToken(named.token, kinds)
    const hash = digest(plain(named.code))
    const all = await Promise.all(
      kinds.map(kind => this.kv.kvGet('meta', ['proof', named.userId ?? NOBODY, kind])),
    )
    return all.flatMap(good).find(({ code }) => isSame(code, hash))
  }

  async #byToken(token: string, kinds: readonly ProofKind[]): Promise<StoredProof | undefined> {
    const [, letter, userId, secret] = TOKEN.exec(token) ?? []
    const kind = LETTERS[letter as keyof typeof LETTERS]
    if (userId === undefined || secret === undefined || !kinds.includes(kind)) return undefined
    const hash = digest(secret)
    const [proof] = good(await this.kv.kvGet('meta', keyOf(userId, { kind, secret: hash })))
    return proof !== undefined && isSame(proof.secret, hash) ? proof : undefined
  }
}

/** The account that a token names, whether or not it is good. */
export function ownerOf(token: string): UserId | undefined {
  const userId = TOKEN.exec(token)?.[2]
  return userId !== undefined && isUserId(userId) ? userId : undefined
}

/** Of `undo` each has a row of its own: whoever changes the address twice must not void the first owner's. */
const keyOf = (userId: UserId, { kind, secret }: Pick<StoredProof, 'kind' | 'secret'>): KvKey =>
  kind === 'undo' ? ['proof', userId, kind, secret] : ['proof', userId, kind]

const putOf = (userId: UserId, proof: StoredProof): KvWrite => ({
  put: 'meta',
  key: keyOf(userId, proof),
  value: encodeRecord(proof),
})

const removalOf = (userId: UserId, proof: StoredProof): KvWrite => ({
  remove: 'meta',
  key: keyOf(userId, proof),
})

const decode = decodeRecord<StoredProof>

function good(value: Uint8Array | undefined): StoredProof[] {
  const proof = value && decode(value)
  return proof !== undefined && proof.expiresAt > Date.now() ? [proof] : []
}

/** Without signs between. */
const plain = (code: string): string => asMeant(code).replace(/[^0-9A-Z]/g, '')
