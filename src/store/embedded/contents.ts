/** The embedded store's contents for `mumi copy`. */
import { GatewayError } from '../../core/errors.js'
import { MESSAGE_KINDS } from '../../core/message-kinds.js'
import type { Cursor, User } from '../../core/model.js'
import { type Contents, type Entries, PAGE, PAGE_CHARS, type Page, type Section } from '../contents.js'
import { Conversations } from './conversations.js'
import type { EmbeddedEnv } from './env.js'
import { FIRST, type Key, LAST } from './keys.js'
import { NameIndex } from './names.js'
import { headOf, partsOf, Rows } from './rows.js'
import {
  ownersTable,
  type SharedCollection,
  type SharedRecord,
  type StoredRecord,
  sharedTable,
} from './shared.js'
import type { OpenTable, Table } from './table.js'
import { userNumber } from './users.js'

/** How one section is read and written. */
interface Part<E> {
  readonly table: Table<never>
  read(key: readonly unknown[], value: never): E
  /** To be called within a write. */
  write(entry: E): void
}

export class EmbeddedContents implements Contents {
  readonly #env: EmbeddedEnv
  readonly #parts: { readonly [S in Section]: Part<Entries[S]> }

  /** @param inbox its newest rows may not be in LMDB yet */
  constructor(
    env: EmbeddedEnv,
    table: OpenTable,
    private readonly inbox: { stored(): Promise<void> },
  ) {
    this.#env = env
    this.#parts = {
      accounts: accountsPart(table),
      rows: rowsPart(table),
      devices: devicesPart(table),
      trimmed: seqPart(table('trimmed')),
      furthest: seqPart(table('furthest')),
      names: sharedPart(table, 'names'),
      images: sharedPart(table, 'images'),
    }
  }

  async read<S extends Section>(section: S, from: string | undefined): Promise<Page<S>> {
    await this.inbox.stored()
    const part: Part<Entries[S]> = this.#parts[section]
    const start: Key = from === undefined ? [FIRST] : [...JSON.parse(from), FIRST]
    return this.#env.read(() => {
      const entries: Entries[S][] = []
      let chars = 0
      for (const { key, value } of part.table.getRange({ start, end: [LAST], limit: PAGE })) {
        const entry = part.read(key, value)
        entries.push(entry)
        if ('text' in entry) chars += entry.text.length
        if ('value' in entry) chars += entry.value.length
        if (entries.length === PAGE || chars > PAGE_CHARS) return { entries, next: JSON.stringify(key) }
      }
      return { entries, next: undefined }
    })
  }

  async write<S extends Section>(section: S, entries: readonly Entries[S][]): Promise<void> {
    const part: Part<Entries[S]> = this.#parts[section]
    await this.#env.write(() => {
      for (const entry of entries) part.write(entry)
    }, 3 * entries.length)
  }
}

function accountsPart(table: OpenTable): Part<Entries['accounts']> {
  const accounts = table<User>('accounts')
  const ordinals = table<number>('ordinals')
  const emails = table<number>('emails')
  const usernames = table<number>('usernames')
  const names = new NameIndex(table)
  const hashes = table<string>('hashes')
  const factors = table<string>('factors')
  return {
    table: ordinals as Table<never>,
    read(key, value) {
      const ordinal: number = value
      const user = accounts.get([ordinal])
      const passwordHash = hashes.get([Number(key[0])]) ?? ''
      const factor = factors.get([Number(key[0])])
      const whole = user && { ...user, passwordHash, ...(factor !== undefined && { factor }) }
      return { id: String(key[0]), ordinal, user: whole }
    },
    write({ id, ordinal, user }) {
      ordinals.put([userNumber(id)], ordinal)
      if (user === undefined) return
      const { passwordHash, factor, ...account } = user
      accounts.put([ordinal], account)
      emails.put([user.emailKey], ordinal)
      if (user.username !== '') usernames.put([user.username], ordinal)
      names.put(account, ordinal)
      hashes.put([userNumber(id)], passwordHash)
      if (factor === undefined) factors.remove([userNumber(id)])
      else factors.put([userNumber(id)], factor)
    },
  }
}

function rowsPart(table: OpenTable): Part<Entries['rows']> {
  const rows = new Rows(table)
  const conversations = new Conversations(table)
  return {
    table: rows.table as Table<never>,
    read(key, value) {
      const inbox = String(key[0])
      const row = rows.row(inbox, Number(key[1]), value)
      if (row === undefined) throw new GatewayError('STORE_UNAVAILABLE', { reason: 'a text is not there' })
      return { inbox, ...row, end: partsOf(inbox, value).end }
    },
    write(row) {
      const { inbox, seq, id, kind, conversation, text, end } = row
      const owner = userNumber(inbox)
      const { isShared } = MESSAGE_KINDS[kind]
      rows.table.put([owner, seq], headOf(row, end) + (isShared ? '' : text))
      if (isShared) {
        rows.putText(id, text)
        rows.putHolder({ id, owner, seq })
      }
      if (conversation === undefined) return
      conversations.put(conversation, id, { owner, seq }, Buffer.alloc(Conversations.PLACE_BYTES), 0)
    },
  }
}

function devicesPart(table: OpenTable): Part<Entries['devices']> {
  const devices = table<Cursor & { seenAt: number }>('devices')
  return {
    table: devices as Table<never>,
    read(key, value) {
      const place: Cursor & { seenAt: number } = value
      return { userId: String(key[0]), device: String(key[1]), ...place }
    },
    write({ userId, device, ...place }) {
      devices.put([userNumber(userId), device], place)
    },
  }
}

function sharedPart(table: OpenTable, collection: SharedCollection): Part<SharedRecord> {
  const records = sharedTable(table, collection)
  const owners = ownersTable(table)
  return {
    table: records as Table<never>,
    read: (key, value: StoredRecord) => ({ key: String(key[0]), ...value }),
    write({ key, userId, value }) {
      records.put([key], { userId, value: Buffer.from(value) })
      owners.put([userNumber(userId), collection, key], 0)
    },
  }
}

function seqPart(seqs: Table<number>): Part<Entries['trimmed']> {
  return {
    table: seqs as Table<never>,
    read: (key, value) => ({ userId: String(key[0]), seq: value }),
    write: ({ userId, seq }) => void seqs.put([userNumber(userId)], seq),
  }
}
