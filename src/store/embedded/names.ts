/**
 * Which accounts have a first name, a last name, or both, so that a query for names reads no account that it does not
 * tell.
 */
import { createHash } from 'node:crypto'
import type { User } from '../../core/model.js'
import type { UserQuery } from '../store.js'
import { FIRST, type Key, LAST } from './keys.js'
import type { OpenTable, Table } from './table.js'

type Names = Pick<UserQuery, 'firstName' | 'lastName'>

/** Where the mark is; shorter than any digest, so it is no name's. */
const INDEXED = ['indexed']

export class NameIndex {
  /** [digest of names, ordinal]; and [INDEXED] → the account up to which all are in. */
  readonly #entries: Table<number>

  constructor(table: OpenTable) {
    this.#entries = table('names')
  }

  /** To be called within a write. */
  put(user: User, ordinal: number): void {
    for (const digest of digestsOf(user)) this.#entries.put([digest, ordinal], 0)
  }

  /** To be called within a write. */
  remove(user: User, ordinal: number): void {
    for (const digest of digestsOf(user)) this.#entries.remove([digest, ordinal])
  }

  /** Ordinals of accounts with all given names, rising, behind `after`, at most `limit`. */
  find(names: Names, after: number, limit: number): number[] {
    const digest = digestOf(names)
    const bounds = { start: [digest, after, FIRST], end: [digest, LAST], limit }
    return Array.from(this.#entries.getRange(bounds), ({ key }) => Number(key[1]))
  }

  /** All entries behind one, in the order of their keys. */
  *entries(after: Key | undefined, limit: number): Generator<{ key: Key; ordinal: number }> {
    const bounds = { start: [...(after ?? []), FIRST], end: [LAST], limit }
    for (const key of this.#entries.getKeys(bounds)) yield { key, ordinal: Number(key[1]) }
  }

  /** Whether an entry is one of the account's, or the mark. */
  isOf([digest, ordinal]: Key, user: User | undefined): boolean {
    if (ordinal === undefined) return digest === INDEXED[0]
    return user !== undefined && digestsOf(user).includes(String(digest))
  }

  /** Accounts behind this one may have been written by a version without this index. */
  get indexedUpTo(): number {
    return this.#entries.get(INDEXED) ?? 0
  }

  /** To be called within the write that puts them. */
  putIndexedUpTo(ordinal: number): void {
    this.#entries.put(INDEXED, ordinal)
  }
}

/** One entry for each query that finds the user, so that no query walks what only one of its names matches. */
function digestsOf({ firstName, lastName }: User): string[] {
  return [{ firstName }, { lastName }, { firstName, lastName }].map(digestOf)
}

/**
 * Of fixed length, since the length of a key is limited: enough of SHA-256 to avoid collisions. The account is
 * compared, too.
 */
function digestOf({
  firstName = null,
  lastName = null,
}: {
  firstName?: string | null
  lastName?: string | null
}): string {
  return createHash('sha256')
    .update(JSON.stringify([firstName, lastName]))
    .digest('base64url')
    .slice(0, 22)
}
