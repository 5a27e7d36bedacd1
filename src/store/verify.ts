/** Reads a store that nobody writes to, and finds what contradicts itself. */
import { type ConversationId, isUserId, type UserId } from '../core/model.js'
import type { CopyableStore, Entries, Section } from './contents.js'
import { accountOf } from './deleted.js'
import { KV_COLLECTIONS, type KvCollection, type KvValue } from './store.js'

export interface Verified {
  readonly accounts: number
  readonly inboxes: number
  readonly rows: number
  readonly conversations: number
  readonly devices: number
  /** What is wrong, a line each; without texts of messages, emails and names. */
  readonly faults: readonly string[]
}

/** Rows of a conversation read at a time. */
const PAGE = 500

type Row = Entries['rows']

/** Faults of one kind tell the same after some, and a broken store may have a million. */
const MAX_FAULTS = 1000

export class Verification {
  readonly #faults: string[] = []
  readonly #live = new Set<UserId>()
  readonly #conversations = new Map<ConversationId, number>()
  readonly #byNames = new Map<string, ReadonlySet<UserId>>()
  #inboxes = 0
  #accounts = 0
  #rows = 0
  #devices = 0
  /** The row before, of the same inbox. */
  #before: Row | undefined

  /**
   * @param store its rows come in the order of inbox and seq: the embedded one
   * @param onRow called with the count of rows so far
   * @param isReadable whether the value of a row of the broker is what the broker reads
   */
  constructor(
    private readonly store: CopyableStore,
    private readonly onRow: (rows: number) => void = () => undefined,
    private readonly isReadable: (collection: KvCollection, value: KvValue) => boolean = () => true,
  ) {}

  /** @throws GatewayError if the store cannot be read */
  async run(): Promise<Verified> {
    // First, since it waits for deletions.
    for await (const line of this.store.strays()) this.#fault(line)
    for await (const entry of this.#all('accounts')) await this.#account(entry)
    for await (const row of this.#all('rows')) await this.#row(row)
    await this.#endOfInbox()
    for (const [conversation, count] of this.#conversations) await this.#conversation(conversation, count)
    for await (const device of this.#all('devices')) await this.#device(device)
    for await (const { userId, seq } of this.#all('furthest')) {
      this.#owner('furthest', userId)
      if (seq > (await this.store.inbox.lastSeq(userId)))
        this.#fault(`inbox ${userId}: confirmed up to ${seq}, beyond its end`)
    }
    for await (const { userId } of this.#all('trimmed')) this.#owner('trimmed', userId)
    for (const collection of KV_COLLECTIONS)
      for await (const { key, value } of this.store.kv.kvRange(collection, [])) {
        this.#owner(collection, accountOf(collection, key))
        if (!this.isReadable(collection, value))
          this.#fault(`${collection}: the row ${JSON.stringify(key)} cannot be read`)
      }
    return {
      ...{ accounts: this.#accounts, inboxes: this.#inboxes, rows: this.#rows },
      ...{ conversations: this.#conversations.size, devices: this.#devices, faults: this.#faults },
    }
  }

  async *#all<S extends Section>(section: S): AsyncGenerator<Entries[S]> {
    let from: string | undefined
    do {
      const page = await this.store.contents().read(section, from)
      yield* page.entries
      from = page.next
    } while (from !== undefined)
  }

  #fault(line: string): void {
    if (this.#faults.length < MAX_FAULTS) this.#faults.push(line)
  }

  /** What has an owner has one with an account. */
  #owner(what: string, id: string): void {
    if (isUserId(id) && !this.#live.has(id)) this.#fault(`${what}: an entry of ${id}, who has no account`)
  }

  /** Each index finds it. */
  async #account({ id, user }: Entries['accounts']): Promise<void> {
    if (user === undefined) return
    this.#live.add(id)
    this.#accounts++
    const { users } = this.store
    const { emailKey, username, firstName, lastName, passwordHash } = user
    const finds = async (what: string, found: Promise<{ id: UserId }[]>) => {
      if (!(await found).some(one => one.id === id)) this.#fault(`account ${id}: not found by its ${what}`)
    }
    if (user.id !== id) this.#fault(`account ${id}: is stored as ${user.id}`)
    if (passwordHash === '') this.#fault(`account ${id}: has no password hash`)
    await finds('email', users.findUsers({ emailKey }, 1))
    if (username !== '') await finds('user name', users.findUsers({ username }, 1))
    if (!(await this.#named(firstName, lastName)).has(id))
      this.#fault(`account ${id}: not found by its names`)
  }

  /** Read once for all who have the same names. */
  async #named(firstName: string, lastName: string): Promise<ReadonlySet<UserId>> {
    const names = JSON.stringify([firstName, lastName])
    const known = this.#byNames.get(names)
    if (known !== undefined) return known
    const found = await this.store.users.findUsers({ firstName, lastName }, Number.MAX_SAFE_INTEGER)
    const ids = new Set(found.map(({ id }) => id))
    this.#byNames.set(names, ids)
    return ids
  }

  async #row(row: Row): Promise<void> {
    const { inbox, seq, text, end, conversation } = row
    if (inbox !== this.#before?.inbox) {
      await this.#endOfInbox()
      await this.#beginInbox(row)
    } else this.#next(row, this.#before)
    if (conversation !== undefined)
      this.#conversations.set(conversation, (this.#conversations.get(conversation) ?? 0) + 1)
    if (end > 0 && end < Buffer.byteLength(text)) this.#fault(`inbox ${inbox}: size of ${seq} is wrong`)
    this.#rows++
    this.onRow(this.#rows)
    this.#before = row
  }

  async #beginInbox({ inbox, seq }: Row): Promise<void> {
    this.#inboxes++
    if (!this.#live.has(inbox)) this.#fault(`inbox ${inbox}: there is no such account`)
    const first = await this.store.inbox.firstSeq(inbox)
    if (seq !== first) this.#fault(`inbox ${inbox}: begins with ${seq}, and should with ${first}`)
  }

  #next({ inbox, seq, text, end }: Row, before: Row): void {
    if (seq !== before.seq + 1) this.#fault(`inbox ${inbox}: a hole between ${before.seq} and ${seq}`)
    // Rows from before bytes were counted have 0.
    else if (before.end > 0 && end !== before.end + Buffer.byteLength(text))
      this.#fault(`inbox ${inbox}: size of ${seq} is wrong`)
  }

  async #endOfInbox(): Promise<void> {
    if (this.#before === undefined) return
    const { inbox, seq } = this.#before
    const last = await this.store.inbox.lastSeq(inbox)
    if (seq !== last) this.#fault(`inbox ${inbox}: ends with ${seq}, and should with ${last}`)
  }

  async #conversation(id: ConversationId, count: number): Promise<void> {
    let found = 0
    let before: string | undefined
    for (let isMore = true; isMore; ) {
      const page = await this.store.inbox.readConversation(id, PAGE, before)
      found += page.length
      before = page.at(-1)?.row.id
      isMore = page.length === PAGE
    }
    if (found !== count) this.#fault(`conversation ${id}: has ${found} of ${count} messages`)
  }

  async #device({
    userId,
    device,
    confirmed,
    sent,
    released,
    settled = [],
  }: Entries['devices']): Promise<void> {
    this.#devices++
    this.#owner('devices', userId)
    const last = await this.store.inbox.lastSeq(userId)
    const name = `inbox ${userId}: device ${JSON.stringify(device)}`
    if (confirmed > last || sent > last) this.#fault(`${name} is beyond its end, ${last}`)
    if (confirmed > (await this.store.cursors.furthest(userId)))
      this.#fault(`${name} has confirmed more than its inbox knows`)
    if (settled.some(([, to]) => to > last)) this.#fault(`${name} has settled more than there is`)
    if (released.some(seq => seq > last)) this.#fault(`${name} has released more than there is`)
  }
}
