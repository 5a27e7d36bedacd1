/**
 * The broker's own state in the MongoDB store. Without transactions, several documents cannot change together. So a
 * group of more than one write is first written to a journal, which is one document and so is stored as a whole or not
 * at all. If the process or the server dies before the group is applied, it is applied before anything else is read or
 * written.
 */
import type { AnyBulkWriteOperation } from 'mongodb'
import { GatewayError } from '../../core/errors.js'
import { AnswersInOrder } from '../../flow/in-order.js'
import type { DeletedUsers } from '../deleted.js'
import type { KeyValue, KvCollection, KvKey, KvValue, KvWrite } from '../store.js'
import type { BrokerDocument } from './documents.js'
import type { MongoEnv } from './env.js'
import { toStoreError } from './errors.js'
import { Group, type Outcome } from './group.js'
import { keysUnder, readTextKey, textKey } from './keys.js'
import type { MongoLease } from './lease.js'

/** Entries that a range reads at once. */
const PAGE = 256
const PAGE_BYTES = 65_536
/** Documents that the server sends at a time. */
const BATCH = 16
const CALLS_PER_WRITE = 1000
/** A document has at most 16 MiB. */
const GROUP_BYTES = 4 << 20
const MAX_JOURNAL_BYTES = 15 << 20
/** Estimated overhead of a write in addition to key and value, bytes. */
const WRITE_BYTES = 40

/** The last write to each key; undefined = removed. */
type Changes = ReadonlyMap<string, KvValue | undefined>

type Range = { readonly $gte: string; readonly $lt: string } | { readonly $gt: string; readonly $lt: string }

const entryOf = ({ _id, value }: BrokerDocument) => ({ key: readTextKey(_id, 2), value })

export class MongoKv implements KeyValue {
  readonly #env: MongoEnv
  readonly #lease: MongoLease
  readonly #gets = new AnswersInOrder()
  readonly #calls: Group<readonly KvWrite[], void>
  /** A group that is in the journal and may not have been applied. */
  #unapplied: Changes | undefined
  /** Whether the journal holds a group. The next start would apply it again, and so undo a later single write. */
  #hasJournal = true

  constructor(
    env: MongoEnv,
    lease: MongoLease,
    private readonly writes: AnswersInOrder,
    private readonly deleted: DeletedUsers,
  ) {
    this.#env = env
    this.#lease = lease
    this.#calls = new Group({
      write: calls => this.#write(calls),
      timeoutMs: env.options.timeoutMs,
      maxItems: CALLS_PER_WRITE,
      maxWeight: GROUP_BYTES,
      weigh: bytesOf,
    })
  }

  /** Applies the group in the journal. Call it before anything else. @throws GatewayError */
  async open(): Promise<void> {
    const journal = await this.#env.run(() => this.#env.journal.findOne({ _id: this.#env.options.gateway }))
    if (journal === null) return
    const changes = new Map(journal.writes.map(({ key, value }) => [key, journal.values[value]]))
    await this.#env.run(() => this.#apply(changes))
  }

  kvWrite(writes: readonly KvWrite[]): Promise<void> {
    return this.writes.keep(this.#add(this.deleted.without(writes)))
  }

  async #add(writes: readonly KvWrite[]): Promise<void> {
    if (writes.length > 0) await this.#calls.add(writes)
  }

  async idle(): Promise<void> {
    await this.#calls.idle()
  }

  kvGet(collection: KvCollection, key: KvKey): Promise<KvValue | undefined> {
    return this.#gets.keep(this.#get(collection, key))
  }

  async #get(collection: KvCollection, key: KvKey): Promise<KvValue | undefined> {
    const found = await this.#env.run(() => this.#env.broker.findOne({ _id: this.#id(collection, key) }))
    return found?.value
  }

  async *kvRange(
    collection: KvCollection,
    prefix: KvKey,
    between?: readonly [string, string],
    wants?: (key: KvKey) => boolean,
  ): AsyncGenerator<{ key: KvKey; value: KvValue }> {
    const { gateway } = this.#env.options
    const place = [gateway, collection, ...prefix]
    const under = keysUnder(place)
    const bounds = between?.map(part => textKey([...place, part]))
    const { $gte = under.$gte, $lt = under.$lt } = { $gte: bounds?.[0], $lt: bounds?.[1] }
    let from: { $gte: string } | { $gt: string } = { $gte }
    for (;;) {
      const range: Range = { ...from, $lt }
      let last: string | undefined
      if (wants === undefined) {
        const page: readonly BrokerDocument[] = await this.#env.run(() => this.#page(range))
        yield* page.map(entryOf)
        last = page.at(-1)?._id
      } else {
        const keys = await this.#env.run(() => this.#keys(range))
        yield* this.#withKeys(keys.filter(_id => wants(readTextKey(_id, 2))))
        last = keys.at(-1)
      }
      if (last === undefined) return
      from = { $gt: last }
    }
  }

  /** @param ids in the order of the server */
  async *#withKeys(ids: readonly string[]): AsyncGenerator<{ key: KvKey; value: KvValue }> {
    for (let left = ids; left.length > 0; ) {
      const page = await this.#env.run(() => this.#page({ $in: left }))
      yield* page.map(entryOf)
      const last = page.at(-1)
      left = last === undefined ? [] : left.slice(left.indexOf(last._id) + 1)
    }
  }

  async #keys(_id: Range): Promise<string[]> {
    const found = this.#env.broker
      .find({ _id }, { projection: { _id: 1 } })
      .sort({ _id: 1 })
      .limit(PAGE)
    return (await found.toArray()).map(({ _id }) => _id)
  }

  async #page(_id: Range | { readonly $in: readonly string[] }) {
    const found = this.#env.broker.find({ _id }).sort({ _id: 1 }).limit(PAGE).batchSize(BATCH)
    const page: Awaited<ReturnType<typeof found.toArray>> = []
    let bytes = 0
    for await (const document of found) {
      page.push(document)
      bytes += document.value.length
      if (bytes >= PAGE_BYTES) break
    }
    return page
  }

  #id(collection: KvCollection, key: KvKey): string {
    return textKey([this.#env.options.gateway, collection, ...key])
  }

  async #write(calls: readonly (readonly KvWrite[])[]): Promise<Outcome<void>[]> {
    try {
      await this.#lease.check()
      const changes = new Map<string, KvValue | undefined>()
      for (const write of calls.flat()) {
        if ('put' in write) changes.set(this.#id(write.put, write.key), write.value)
        else changes.set(this.#id(write.remove, write.key), undefined)
      }
      await this.#finish()
      if (changes.size > 1) await this.#journal(changes)
      else if (this.#hasJournal) await this.#clearJournal()
      await this.#apply(changes)
      this.#unapplied = undefined
      return calls.map(() => ({ value: undefined }))
    } catch (thrown) {
      throw toStoreError(thrown)
    }
  }

  /**
   * Applies what an earlier call could not. That call was rejected, and later writes must not come before its writes.
   */
  async #finish(): Promise<void> {
    if (this.#unapplied === undefined) return
    await this.#apply(this.#unapplied)
    this.#unapplied = undefined
  }

  async #journal(changes: Changes): Promise<void> {
    const { _id, ...journal } = journalOf(this.#env.options.gateway, changes)
    // The journal may have been written, even if the update fails.
    this.#hasJournal = true
    this.#unapplied = changes
    await this.#env.journal.updateOne({ _id }, { $set: journal }, { upsert: true })
  }

  async #clearJournal(): Promise<void> {
    await this.#env.journal.deleteOne({ _id: this.#env.options.gateway })
    this.#hasJournal = false
  }

  /** Idempotent. */
  async #apply(changes: Changes): Promise<void> {
    const puts: AnyBulkWriteOperation<BrokerDocument>[] = []
    const removed: string[] = []
    for (const [_id, value] of changes) {
      if (value === undefined) removed.push(_id)
      else
        puts.push({
          updateOne: { filter: { _id }, update: { $set: { value: Buffer.from(value) } }, upsert: true },
        })
    }
    const { broker } = this.#env
    await Promise.all([
      puts.length > 0 && broker.bulkWrite(puts, { ordered: false }),
      removed.length > 0 && broker.deleteMany({ _id: { $in: removed } }),
    ])
  }
}

const bytesOf = (writes: readonly KvWrite[]): number =>
  writes.reduce((bytes, write) => {
    const value = 'put' in write ? write.value.byteLength : 0
    return bytes + WRITE_BYTES + Buffer.byteLength(write.key.join()) + value
  }, 0)

/** A value that several keys share is stored once, such as a packet that is queued for many MQTT sessions. */
function journalOf(_id: string, changes: Changes) {
  const values = [...new Set(changes.values())].filter(value => value !== undefined)
  const places = new Map(values.map((value, i) => [value, i]))
  let bytes = values.reduce((sum, value) => sum + WRITE_BYTES + value.byteLength, 0)
  const writes = Array.from(changes, ([key, value]) => {
    bytes += WRITE_BYTES + Buffer.byteLength(key)
    return { key, value: value === undefined ? -1 : (places.get(value) ?? -1) }
  })
  if (bytes > MAX_JOURNAL_BYTES)
    throw new GatewayError('TOO_LARGE', { reason: `a write of ${bytes} bytes to the broker's state` })
  return { _id, values: values.map(value => Buffer.from(value)), writes }
}
