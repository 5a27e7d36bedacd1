/** For the store's contract: opens a store and makes sample data. */
import type { Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { type InboxRow, type NewMessage, pairConversation, type UserId } from '../../src/core/model.js'
import type { CursorMove, KvCollection, KvKey, NewUser, Store } from '../../src/store/store.js'

export interface StoreOptions {
  /** Default: longer than any test. */
  readonly dedupWindowMs?: number
}

export interface StoreUnderTest {
  readonly store: Store
  /** Closes the store and opens another one on the same data. */
  reopen(): Promise<Store>
}

/** Opens an empty store for one test; `t`'s teardown closes it. */
export type OpenStore = (t: Test, options?: StoreOptions) => Promise<StoreUnderTest>

export const ANN = '100000001'
export const BOB = '100000002'
export const EVE = '999999999'

export function user(id: UserId, differing: Partial<NewUser> = {}): NewUser {
  return {
    id,
    email: `${id}@Example.org`,
    emailKey: `${id}@example.org`,
    username: '',
    firstName: 'First',
    lastName: 'Last',
    profileImage: '',
    key: '',
    createdAt: 1_562_922_490_000,
    passwordHash: `hash of ${id}`,
    ...differing,
  }
}

let made = 0

/** A message from `sender` to `recipient`, in the recipient's inbox. */
export function message(sender: UserId, recipient: UserId, differing: Partial<NewMessage> = {}): NewMessage {
  const content = JSON.stringify(`message ${++made}`)
  return {
    inbox: recipient,
    id: uuidv7(),
    kind: 'message',
    sender,
    conversation: pairConversation(sender, recipient),
    text: `{"sender":"${sender}","recipient":"${recipient}","content":${content},"created_at":"2019-07-12T09:08:10Z"}`,
    expiresAt: undefined,
    dedupKey: undefined,
    isFirst: false,
    ...differing,
  }
}

/** The row that a message becomes. */
export const rowOf = (
  { id, kind, sender, conversation, text, expiresAt }: NewMessage,
  seq: number,
  differing: Partial<InboxRow> = {},
): InboxRow => ({ seq, id, kind, sender, conversation, text, expiresAt, ...differing })

/** A broadcast, which belongs to no conversation. */
export function broadcast(sender: UserId, inbox: UserId): NewMessage {
  const text = `{"sender":"${sender}","content":"to all","created_at":"2019-07-12T09:08:10Z"}`
  return message(sender, inbox, { kind: 'broadcast', conversation: undefined, text })
}

export function messages(count: number, sender: UserId = ANN, recipient: UserId = BOB): NewMessage[] {
  return Array.from({ length: count }, () => message(sender, recipient))
}

export function move(userId: UserId, device: string, differing: Partial<CursorMove> = {}): CursorMove {
  return { userId, device, confirmed: 0, sent: 0, released: [], seenAt: 1000, ...differing }
}

export async function keysOf(store: Store, collection: KvCollection, prefix: KvKey = []): Promise<KvKey[]> {
  const keys: KvKey[] = []
  for await (const { key } of store.kv.kvRange(collection, prefix)) keys.push(key)
  return keys
}

/** Every call of every role, for tests of what is refused. */
export function everyCall(store: Store): Record<string, () => Promise<unknown>> {
  return {
    ping: async () => store.ping(),
    createUser: async () => store.users.createUser(user(EVE)),
    findUser: async () => store.users.findUser(ANN),
    findUserByEmail: async () => store.users.findUserByEmail('a@example.org'),
    findUsers: async () => store.users.findUsers({}, 10),
    checkPassword: async () => store.users.checkPassword(ANN, async () => true),
    setPasswordHash: async () => store.users.setPasswordHash(ANN, 'hash'),
    changeUser: async () => store.users.changeUser(ANN, { role: 'admin' }),
    deleteUser: async () => store.users.deleteUser(ANN),
    append: async () => store.inbox.append([message(ANN, BOB)]),
    readInbox: async () => store.inbox.readInbox(BOB, 0, 10),
    lastSeq: async () => store.inbox.lastSeq(BOB),
    firstSeq: async () => store.inbox.firstSeq(BOB),
    inboxBytes: async () => store.inbox.inboxBytes(BOB),
    trimInbox: async () => store.inbox.trimInbox(BOB, 1, 10),
    readConversation: async () => store.inbox.readConversation(pairConversation(ANN, BOB), 10),
    cursor: async () => store.cursors.cursor(BOB, ''),
    furthest: async () => store.cursors.furthest(BOB),
    moveCursors: async () => store.cursors.moveCursors([move(BOB, '')]),
    slowest: async () => store.cursors.slowest(BOB),
    forgetDevices: async () => store.cursors.forgetDevices(1),
    kvWrite: async () => store.kv.kvWrite([{ remove: 'meta', key: ['k'] }]),
    kvGet: async () => store.kv.kvGet('meta', ['k']),
    kvRange: async () => keysOf(store, 'meta'),
    sharedGet: async () => store.shared.sharedGet('names', 'k'),
    sharedOf: async () => store.shared.sharedOf('names', ANN),
    sharedSwap: async () => store.shared.sharedSwap('names', 'k', undefined, undefined),
  }
}
