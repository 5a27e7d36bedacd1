/** What indexes and side tables of the embedded store have and no account or row does: for `mumi verify`. */
import type { User } from '../../core/model.js'
import { Conversations } from './conversations.js'
import type { EmbeddedEnv } from './env.js'
import { FIRST, type Key, LAST } from './keys.js'
import { NameIndex } from './names.js'
import { idOf, partsOf, Rows } from './rows.js'
import type { OpenTable, Table } from './table.js'
import { userNumber } from './users.js'

/** Entries looked at in one read. */
const PAGE = 1000

/** Lines that name no email, name or text. */
export class Strays {
  readonly #accounts: Table<User>
  readonly #ordinals: Table<number>
  readonly #names: NameIndex
  readonly #conversations: Conversations
  readonly #rows: Rows

  constructor(
    private readonly env: EmbeddedEnv,
    private readonly table: OpenTable,
  ) {
    this.#accounts = table('accounts')
    this.#ordinals = table('ordinals')
    this.#names = new NameIndex(table)
    this.#conversations = new Conversations(table)
    this.#rows = new Rows(table)
  }

  /** @throws GatewayError if the store cannot be read */
  *all(): Generator<string> {
    yield* this.#accountsBeside()
    yield* this.#indexOf('emails', user => user.emailKey)
    yield* this.#indexOf('usernames', user => user.username)
    const names = this.#pagesOf(
      (after?: Key) => this.#names.entries(after, PAGE),
      ({ key }) => key,
    )
    for (const { key, ordinal } of names)
      if (!this.#names.isOf(key, this.#accounts.get([ordinal])))
        yield `names: an entry for account number ${ordinal}, which has no such name or is not there`
    for (const name of ['hashes', 'factors'])
      for (const { key } of this.#entries<string>(name))
        if (this.#userOf(Number(key[0])) === undefined) yield `${name}: one of ${key[0]}, who has no account`
    const places = this.#pagesOf(
      (after?: Buffer) => this.#conversations.entries(after, PAGE),
      ({ key }) => key,
    )
    for (const { conversation, id, owner, seq } of places)
      if (this.#idAt(owner, seq) !== id)
        yield `conversation ${conversation}: an entry for ${seq} of inbox ${owner}, where another message is, or none`
    yield* this.#texts()
  }

  /** Accounts that no id leads to. */
  *#accountsBeside(): Generator<string> {
    for (const { key, value } of this.#entries<User>('accounts'))
      if (this.#ordinals.get([userNumber(value.id)]) !== key[0])
        yield `account ${value.id}: not found by its id`
  }

  *#indexOf(name: 'emails' | 'usernames', keyOf: (user: User) => string): Generator<string> {
    for (const { key, value } of this.#entries<number>(name)) {
      const user = this.#accounts.get([value])
      if (user === undefined || keyOf(user) !== key[0])
        yield `${name}: an entry for account number ${value}, which ${user ? 'has another' : 'there is not'}`
    }
  }

  *#texts(): Generator<string> {
    for (const { key } of this.#entries<number>('text-holders'))
      if (this.#idAt(Number(key[1]), Number(key[2])) !== key[0])
        yield `text of message ${key[0]}: held by ${key[2]} of inbox ${key[1]}, where another message is, or none`
    for (const { key } of this.#entries<string>('texts', 'string'))
      if (!this.#rows.isHeld(String(key[0]))) yield `text of message ${key[0]}: no row refers to it`
    for (const { key, value } of this.#entries<string>('inbox', 'string')) {
      const [owner, seq] = [Number(key[0]), Number(key[1])]
      const { id, text } = partsOf(String(owner), value)
      if (text === undefined && !this.#rows.isHeld(id, { owner, seq }))
        yield `inbox ${owner}: ${seq} has a text apart, and does not hold it`
    }
  }

  #userOf(number: number): User | undefined {
    const ordinal = this.#ordinals.get([number])
    return ordinal === undefined ? undefined : this.#accounts.get([ordinal])
  }

  #idAt(owner: number, seq: number): string | undefined {
    const value = this.#rows.table.get([owner, seq])
    return value === undefined ? undefined : idOf(value)
  }

  #entries<V>(name: string, encoding?: 'string') {
    const table = this.table<V>(name, encoding)
    return this.#pagesOf(
      (after?: Key) => table.getRange({ start: [...(after ?? []), FIRST], end: [LAST], limit: PAGE }),
      ({ key }) => key as Key,
    )
  }

  /** In pages, so that no read holds old pages of LMDB for long. */
  *#pagesOf<E, K>(read: (after?: K) => Iterable<E>, keyOf: (entry: E) => K): Generator<E> {
    let after: K | undefined
    for (;;) {
      const page = this.env.read(() => [...read(after)])
      yield* page
      const last = page.at(-1)
      if (last === undefined) return
      after = keyOf(last)
    }
  }
}
