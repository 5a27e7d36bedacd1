/** Reads and writes the whole contents of the MongoDB store, for `mumi copy`. */
import type { AnyBulkWriteOperation, Collection, Document, Filter, WithId } from 'mongodb'
import { MESSAGE_KINDS } from '../../core/message-kinds.js'
import { madeAt } from '../../core/model.js'
import { type Contents, type Entries, PAGE, PAGE_CHARS, type Page, type Section } from '../contents.js'
import type { SharedRecord } from '../store.js'
import type { DeviceDocument, InboxDocument, MessageDocument, UserDocument } from './documents.js'
import { type MongoEnv, unavailable } from './env.js'
import { rowId, textKey } from './keys.js'
import { toSharedDocument, toSharedRecord } from './shared.js'
import { MongoTexts, storedHeader } from './texts.js'
import { toUser, toDocument as toUserDocument } from './users.js'

/** How one section is read and written. */
interface Part<E> {
  readonly collection: Collection<Keyed>
  readonly filter: Filter<Keyed>
  read(document: never): E
  write(entry: E): AnyBulkWriteOperation<Keyed>
}

interface Keyed extends Document {
  readonly _id: string
}

const replace = (document: Keyed): AnyBulkWriteOperation<Keyed> => ({
  replaceOne: { filter: { _id: document._id }, replacement: document, upsert: true },
})

export class MongoContents implements Contents {
  readonly #env: MongoEnv

  constructor(env: MongoEnv) {
    this.#env = env
  }

  async read<S extends Section>(section: S, from: string | undefined): Promise<Page<S>> {
    const { collection, filter, read } = this.#part(section)
    const range = from === undefined ? filter : { ...filter, _id: { $gt: from } }
    return this.#env.run(async () => {
      const documents: Keyed[] = []
      let chars = 0
      for await (const document of collection.find(range).sort({ _id: 1 }).limit(PAGE)) {
        documents.push(document)
        chars += Number(document.bytes ?? document.value?.length ?? String(document.text ?? '').length)
        if (chars > PAGE_CHARS) break
      }
      const isEnd = documents.length < PAGE && chars <= PAGE_CHARS
      const texts = await this.#textsOf(documents)
      const whole = documents.map(one =>
        one.shared === undefined ? one : { ...one, text: texts.get(one.id) },
      )
      return {
        entries: whole.map(one => read(one as never)),
        next: isEnd ? undefined : documents.at(-1)?._id,
      }
    })
  }

  async write<S extends Section>(section: S, entries: readonly Entries[S][]): Promise<void> {
    if (entries.length === 0) return
    const { collection, write } = this.#part(section)
    const rows = entries.filter((entry): entry is Entries[S] & Entries['rows'] => 'text' in entry)
    await this.#env.run(() =>
      new MongoTexts(this.#env).put(rows.filter(({ kind }) => MESSAGE_KINDS[kind].isShared)),
    )
    await this.#env.run(() => collection.bulkWrite(entries.map(write), { ordered: false }))
  }

  async #textsOf(documents: readonly Keyed[]): Promise<Map<unknown, string>> {
    const ids = documents.flatMap(({ shared }) => (shared === undefined ? [] : [String(shared)]))
    const found = ids.length === 0 ? [] : await this.#env.texts.find({ _id: { $in: ids } }).toArray()
    return new Map(found.map(({ _id, text }) => [_id, text]))
  }

  #part<S extends Section>(section: S): Part<Entries[S]> {
    const { users, messages, devices, inboxes } = this.#env
    const parts: { readonly [P in Section]: Part<Entries[P]> } = {
      accounts: { collection: keyed(users), filter: {}, read: readAccount, write: writeAccount },
      rows: { collection: keyed(messages), filter: {}, read: readRow, write: writeRow },
      devices: { collection: keyed(devices), filter: {}, read: readDevice, write: writeDevice },
      trimmed: seqPart(keyed(inboxes), 'trimmed'),
      furthest: seqPart(keyed(inboxes), 'furthest'),
      names: sharedPart(keyed(this.#env.shared('names'))),
      images: sharedPart(keyed(this.#env.shared('images'))),
    }
    return parts[section]
  }
}

const keyed = (collection: unknown) => collection as Collection<Keyed>

function readAccount(document: WithId<UserDocument>): Entries['accounts'] {
  const { _id: id, ordinal, deleted, passwordHash = '', factor } = document
  const user = { ...toUser(document), passwordHash, ...(factor !== undefined && { factor }) }
  return { id, ordinal, user: deleted ? undefined : user }
}

function writeAccount({ id, ordinal, user }: Entries['accounts']): AnyBulkWriteOperation<Keyed> {
  return replace(
    user === undefined ? { _id: id, ordinal, deleted: true } : { ...toUserDocument(user, ordinal) },
  )
}

function readRow(document: MessageDocument): Entries['rows'] {
  const { inbox, seq, id, text, end = 0 } = document
  if (text === undefined) throw unavailable('a text is not there')
  return { inbox, seq, id, ...storedHeader(document, text), text, end }
}

/**
 * The dedupKey is not copied, since it matters only for some minutes. `storedAt` becomes the time of the message's id.
 */
function writeRow(row: Entries['rows']): AnyBulkWriteOperation<Keyed> {
  const { inbox, seq, id, kind, sender, conversation, text, end, expiresAt } = row
  const head = { _id: rowId(inbox, seq), inbox, seq, id, kind: MESSAGE_KINDS[kind].letter, sender }
  const storedAt = new Date(madeAt(id))
  const body = MESSAGE_KINDS[kind].isShared ? { shared: id } : { text }
  const counts = end > 0 && { bytes: Buffer.byteLength(text), end }
  const expiry = expiresAt !== undefined && { expiresAt: new Date(expiresAt) }
  return replace({ ...head, storedAt, ...body, ...(conversation && { conversation }), ...expiry, ...counts })
}

function readDevice({ _id, user, seenAt, ...place }: DeviceDocument): Entries['devices'] {
  return { userId: user, ...place, seenAt: seenAt.getTime() }
}

function writeDevice(entry: Entries['devices']): AnyBulkWriteOperation<Keyed> {
  const { userId: user, seenAt, ...place } = entry
  return replace({ _id: textKey([user, place.device]), user, ...place, seenAt: new Date(seenAt) })
}

function sharedPart(collection: Collection<Keyed>): Part<SharedRecord> {
  return {
    collection,
    filter: {},
    read: toSharedRecord,
    write: ({ key, ...record }) => replace({ ...toSharedDocument(key, record) }),
  }
}

function seqPart(collection: Collection<Keyed>, field: 'trimmed' | 'furthest'): Part<Entries['trimmed']> {
  return {
    collection,
    filter: { [field]: { $gt: 0 } },
    read: (document: InboxDocument) => ({ userId: document._id, seq: document[field] ?? 0 }),
    write: ({ userId, seq }) => ({
      updateOne: { filter: { _id: userId }, update: { $set: { [field]: seq } }, upsert: true },
    }),
  }
}
