/**
 * What the gateway asks of a store, by roles. Whoever needs one role gets that role and no other. Two implementations
 * pass one contract suite (test/contract/store.contract.ts).
 *
 * Every method rejects with a GatewayError: STORE_UNAVAILABLE (closed, failing, deadline passed) or STORE_FULL (no
 * room; reads still work). A write that resolved is durable as `store.durability` says. Writes of all roles resolve in
 * the order of the calls. The caller bounds text that becomes part of a key: ids ≤ 9, emailKey ≤ 320, username ≤ 64,
 * device ≤ 300 bytes, dedupKey ≤ 400 bytes, KvKey parts ≤ 1,400 bytes in all.
 */
import type { Locale } from '../core/errors.js'
import type {
  ConversationId,
  Cursor,
  GrantedRole,
  InboxRow,
  NewMessage,
  User,
  UserId,
} from '../core/model.js'

export interface NewUser extends User {
  readonly passwordHash: string
}

/** All given fields must match exactly (AND). `email` is compared as `emailKey`. */
export interface UserQuery {
  readonly id?: UserId
  readonly emailKey?: string
  readonly username?: string
  readonly firstName?: string
  readonly lastName?: string
}

/** What changes of an account. null removes it; what is not named stays. */
export interface UserChange {
  readonly disabledAt?: number | null
  readonly role?: GrantedRole | null
  readonly verifiedAt?: number | null
  readonly language?: Locale
  /** '' = none. */
  readonly username?: string
  readonly firstName?: string
  readonly lastName?: string
  readonly profileImage?: string
  readonly key?: string
  /** Another address, in both of its forms. */
  readonly address?: { readonly email: string; readonly emailKey: string }
}

/** The outcome of one append: `repeat` = it repeats one with its dedupKey (see NewMessage) and nothing was stored. */
export interface Appended {
  readonly seq: number
  readonly id: string
  readonly repeat: boolean
  /** Nothing was stored: the account of that inbox was deleted. */
  readonly isGone?: true
  /** Nothing was stored: the message had to be a repeat (see NewMessage) and is none. */
  readonly isFull?: true
  /** Nothing was stored: the message has the key of another one (`isKeyExact` of NewMessage). */
  readonly isOther?: true
}

/** A move of one device's cursor. `confirmed` never moves back: a lower value than the stored one is ignored. */
export interface CursorMove extends Cursor {
  readonly userId: UserId
  readonly device: string
  /** ms since the epoch, for expiry of devices that never come back. */
  readonly seenAt: number
}

/** A device as it is stored. */
export interface StoredDevice extends Cursor {
  readonly device: string
  /** ms since the epoch. */
  readonly seenAt: number
}

export interface ConversationRow {
  readonly inbox: UserId
  readonly row: InboxRow
}

/** Ordered (part by part: numbers by value, text by code unit or UTF-8; a shorter key before its extensions). */
export type KvKey = readonly (string | number)[]
export const KV_COLLECTIONS = [
  'retained',
  'subscriptions',
  'queue',
  'incoming',
  'wills',
  'meta',
  'sessions',
] as const
export type KvCollection = (typeof KV_COLLECTIONS)[number]
export type KvValue = Uint8Array
export type KvWrite =
  | { readonly put: KvCollection; readonly key: KvKey; readonly value: KvValue }
  | { readonly remove: KvCollection; readonly key: KvKey }

/** Accounts. */
export interface Users {
  /** @throws GatewayError ERROR_EXIST_USER, info.field 'email' | 'username' | 'id'; ids of deleted accounts stay taken. */
  createUser(user: NewUser): Promise<void>
  findUser(id: UserId): Promise<User | undefined>
  findUserByEmail(emailKey: string): Promise<User | undefined>
  /**
   * Oldest account first, at most `limit`, beginning behind the account `after` (which may be deleted by now).
   * A query by first name, last name or both reads no other accounts than those it finds; a query by id, emailKey or
   * username (not '') reads one account at most.
   * @throws GatewayError BAD_FIELD {field: 'after'} if there never was such an account
   */
  findUsers(query: UserQuery, limit: number, after?: UserId): Promise<User[]>
  /** Gives the stored hash to `compare` and to nobody else. @returns what `compare` says; false for an unknown id */
  checkPassword(id: UserId, compare: (hash: string) => Promise<boolean>): Promise<boolean>
  setPasswordHash(id: UserId, hash: string): Promise<void>
  /** What an account has for a second factor, in words of auth/second-factor.ts; undefined for none and for an unknown id. */
  findFactor(id: UserId): Promise<string | undefined>
  /**
   * Replaces it if it is still `before`, and of several calls at once, by several gateways, too, one alone.
   * @param after undefined removes it @returns whether it was replaced; false for an unknown id
   */
  replaceFactor(id: UserId, before: string | undefined, after: string | undefined): Promise<boolean>
  /**
   * @returns the account as it is now; undefined for an unknown id
   * @throws GatewayError ERROR_EXIST_USER, info.field 'email' | 'username', if another account has the address or user name
   */
  changeUser(id: UserId, change: UserChange): Promise<User | undefined>
  /**
   * Removes the account, its inbox, cursors, conversation index, stored logins and the broker's state of its clients.
   * What it sent stays with its readers. What is still written for it afterwards is dropped.
   * @param gone called when the account is gone and before the rest of it is removed; the removal waits for it
   */
  deleteUser(id: UserId, gone?: () => Promise<unknown>): Promise<void>
}

/** Messages: one log a user. */
export interface InboxLog {
  /**
   * Appends in the order given, each message to its own inbox with that inbox's next seq; one commit for all. Durable
   * when it resolves; results are in the order of the batch. One call at a time (the caller groups). The text of a
   * broadcast is stored once for all inboxes that it goes to.
   *
   * It rejects as a whole: then nothing was stored and no seq was used. If the server did not answer and cannot be
   * asked, a prefix of the batch was stored or will be, in its order and without holes; a resend with the same dedupKey
   * is then a repeat.
   */
  append(batch: readonly NewMessage[]): Promise<Appended[]>
  /**
   * The same where nothing has to be waited for, which costs less. @returns undefined if something has: nothing was done
   * @throws GatewayError as `append` rejects
   */
  appendNow?(batch: readonly NewMessage[]): Appended[] | undefined
  /**
   * Rows with seq > after, rising, at most `limit`. The page ends when its texts together have `maxChars` UTF-16 units.
   * It has at least one row unless nothing is newer. One range scan.
   */
  readInbox(userId: UserId, after: number, limit: number, maxChars?: number): Promise<InboxRow[]>
  /** Highest seq ever given in this inbox, 0 for none; also after trimming. */
  lastSeq(userId: UserId): Promise<number>
  /** Lowest seq still there; lastSeq + 1 if the log is empty. */
  firstSeq(userId: UserId): Promise<number>
  /** Bytes of the text of rows with seq > `after` (default 0), without rows from before bytes were counted. */
  inboxBytes(userId: UserId, after?: number): Promise<number>
  /** Deletes rows with seq ≤ upTo and their conversation entries, at most `limit` rows a call. @returns how many */
  trimInbox(userId: UserId, upTo: number, limit: number): Promise<number>
  /** Messages of a conversation, newest first, older than the message with id `before` if given. */
  readConversation(conversation: ConversationId, limit: number, before?: string): Promise<ConversationRow[]>
}

/** Places of devices in their owners' inboxes. */
export interface CursorStore {
  /** undefined: this device was never seen. */
  cursor(userId: UserId, device: string): Promise<Cursor | undefined>
  /** The account's devices by name, at most `limit`. */
  devices(userId: UserId, limit: number): Promise<StoredDevice[]>
  /** Highest seq confirmed by any device of the account, 0 for none. */
  furthest(userId: UserId): Promise<number>
  /** Also advances `furthest`. One commit for all. */
  moveCursors(moves: readonly CursorMove[]): Promise<void>
  /** Lowest `confirmed` of the account's devices seen since `seenSince`, ms (default 0); undefined if there are none. */
  slowest(userId: UserId, seenSince?: number): Promise<number | undefined>
  /** Forgets devices (not the default one, '') not seen since `before`, ms. @returns how many */
  forgetDevices(before: number): Promise<number>
}

/** Keys and values: the broker's own state, stored logins, the gateway's own keys. */
export interface KeyValue {
  /**
   * All or nothing, durable when it resolves; nothing if it rejects, unless the server did not answer. Calls of one
   * turn share a commit; after the death of the process a later call is never there without an earlier one.
   */
  kvWrite(writes: readonly KvWrite[]): Promise<void>
  /** Answers in the order of the calls, so that what is acknowledged after an answer keeps its order, too. */
  kvGet(collection: KvCollection, key: KvKey): Promise<KvValue | undefined>
  /**
   * Entries whose key begins with `prefix` (whole parts), rising, read in pages so that nothing is held open.
   * @param between only entries whose next key part is a text from the first to before the second
   * @param wants only entries with such keys: values of others are not read, and other work goes on between pages
   */
  kvRange(
    collection: KvCollection,
    prefix: KvKey,
    between?: readonly [from: string, to: string],
    wants?: (key: KvKey) => boolean,
  ): AsyncIterable<{ key: KvKey; value: KvValue }>
}

export const SHARED_COLLECTIONS = ['names', 'images'] as const
export type SharedCollection = (typeof SHARED_COLLECTIONS)[number]

export interface SharedRecord {
  readonly key: string
  /** Whose it is; '' = nobody's. It is removed with its account. */
  readonly userId: UserId | ''
  readonly value: Uint8Array
}

/** Whether two are the same, both absent included. */
export function isSameRecord(
  a: Pick<SharedRecord, 'userId' | 'value'> | undefined,
  b: Pick<SharedRecord, 'userId' | 'value'> | undefined,
): boolean {
  if (a === undefined || b === undefined) return a === b
  return a.userId === b.userId && Buffer.compare(a.value, b.value) === 0
}

/** Small records of accounts, which all gateways of a store share; `KeyValue` is each gateway's own. */
export interface SharedRecords {
  sharedGet(collection: SharedCollection, key: string): Promise<SharedRecord | undefined>
  /** Keys of an account's records, rising; of those that are nobody's for ''. */
  sharedOf(collection: SharedCollection, userId: UserId | ''): Promise<string[]>
  /**
   * Puts `after` where `before` is; undefined: no record. Of several that find the same, one succeeds.
   * @param key at most 400 bytes
   * @returns whether it did; false, too, for an account that was deleted
   */
  sharedSwap(
    collection: SharedCollection,
    key: string,
    before: Pick<SharedRecord, 'userId' | 'value'> | undefined,
    after: Pick<SharedRecord, 'userId' | 'value'> | undefined,
  ): Promise<boolean>
}

export interface Roles {
  readonly users: Users
  readonly inbox: InboxLog
  readonly cursors: CursorStore
  readonly kv: KeyValue
  readonly shared: SharedRecords
}

/** A role can be taken once the store is open; before that, its getter throws STORE_UNAVAILABLE. */
export interface Store extends Roles {
  /** Opens and locks. @throws GatewayError STORE_UNAVAILABLE, info.reason saying what to do (for one, locked) */
  open(): Promise<void>
  /** Waits for what was accepted, then closes. Safe to call twice. */
  close(): Promise<void>
  /** Resolves when the store answers and can write; for readiness. */
  ping(): Promise<void>
}
