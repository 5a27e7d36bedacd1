/**
 * Everything of one store into another that is empty. Nobody else writes to either meanwhile. What was copied so far is
 * noted in the target, so that another try goes on there; in the end both are read again and compared.
 */

import { createHash } from 'node:crypto'
import { GatewayError } from '../core/errors.js'
import { decodeRecord, encodeRecord } from '../core/record.js'
import { type CopyableStore, type Entries, type Page, SECTIONS, type Section } from './contents.js'
import { KV_COLLECTIONS, type KvKey, type KvWrite } from './store.js'

/** Bytes of the broker's state in one write. */
const STATE_BYTES = 1 << 20
/** Where the target notes how far it is. */
const NOTE: KvKey = ['copy']

/** The section being copied, and where its next page begins in the source. */
interface Note {
  readonly section: number
  readonly from?: string | undefined
}

/** How many entries, and the sum of their digests modulo 2^64: the same in whatever order they are read. */
interface Sum {
  count: number
  digests: bigint
}

/** Told how far it is: what is read or written, and how many of it so far. */
export type OnCopied = (what: string, count: number) => void

/** @param say told what is done, a line each. @throws GatewayError */
export async function copyStore(
  from: CopyableStore,
  to: CopyableStore,
  say: (line: string) => void,
  onCopied: OnCopied = () => undefined,
): Promise<void> {
  const note = await readNote(to)
  if (note === undefined) await refuseContents(to)
  else say(`going on with ${SECTIONS[note.section] ?? 'the state of the broker'}`)
  for (let i = note?.section ?? 0; i < SECTIONS.length; i++) {
    const section = SECTIONS[i]
    const begin = i === note?.section ? note.from : undefined
    if (section !== undefined) await copySection(from, to, { index: i, begin, onCopied })
    say(`${section} copied`)
  }
  await writeNote(to, { section: SECTIONS.length })
  await copyState(from, to)
  say('state of the broker copied')
  await verify(from, to, say, onCopied)
  await to.kv.kvWrite([{ remove: 'meta', key: NOTE }])
}

async function copySection(
  from: CopyableStore,
  to: CopyableStore,
  { index, begin, onCopied }: { index: number; begin: string | undefined; onCopied: OnCopied },
): Promise<void> {
  const section = SECTIONS[index]
  if (section === undefined) return
  await writeNote(to, { section: index, from: begin })
  let count = 0
  for await (const { entries, next } of pages(from, section, begin)) {
    await to.contents().write(section, entries)
    count += entries.length
    onCopied(section, count)
    if (next !== undefined) await writeNote(to, { section: index, from: next })
  }
}

/** @param begin where to begin, in words of the store */
export async function* pages<S extends Section>(
  store: CopyableStore,
  section: S,
  begin?: string,
): AsyncGenerator<Page<S>> {
  let from = begin
  do {
    const page: Page<S> = await store.contents().read(section, from)
    yield page
    from = page.next
  } while (from !== undefined)
}

/** The broker's state, and what else is there by keys. @throws GatewayError */
export async function copyState(from: CopyableStore, to: CopyableStore): Promise<void> {
  let writes: KvWrite[] = []
  let bytes = 0
  for await (const { collection, key, value } of stateOf(from)) {
    writes.push({ put: collection, key, value })
    bytes += value.byteLength
    if (bytes < STATE_BYTES && writes.length < 1000) continue
    await to.kv.kvWrite(writes)
    writes = []
    bytes = 0
  }
  await to.kv.kvWrite(writes)
}

async function* stateOf(store: CopyableStore) {
  for (const collection of KV_COLLECTIONS) {
    for await (const { key, value } of store.kv.kvRange(collection, [])) {
      if (collection !== 'meta' || key[0] !== NOTE[0]) yield { collection, key, value }
    }
  }
}

/** @throws GatewayError STORE_UNAVAILABLE where they differ */
async function verify(
  from: CopyableStore,
  to: CopyableStore,
  say: (line: string) => void,
  onRead: OnCopied,
): Promise<void> {
  for (const section of SECTIONS) {
    const source = await sumOf(from, section, count => onRead(`${section} read in the source`, count))
    const target = await sumOf(to, section, count => onRead(`${section} read in the target`, count))
    compare(section, source, target, say)
  }
  compare('state of the broker', await sumOfState(from), await sumOfState(to), say)
}

function compare(what: string, source: Sum, target: Sum, say: (line: string) => void): void {
  if (source.count !== target.count || source.digests !== target.digests) {
    const counts = `${source.count} in the source, ${target.count} in the target`
    throw new GatewayError('STORE_UNAVAILABLE', { reason: `the copy differs in ${what}: ${counts}` })
  }
  say(
    `${what}: ${source.count}, the same in both (checksum ${source.digests.toString(16).padStart(16, '0')})`,
  )
}

async function sumOf<S extends Section>(
  store: CopyableStore,
  section: S,
  onRead: (count: number) => void,
): Promise<Sum> {
  const sum: Sum = { count: 0, digests: 0n }
  for await (const { entries } of pages(store, section)) {
    for (const entry of entries) add(sum, canonical(entry))
    onRead(sum.count)
  }
  return sum
}

async function sumOfState(store: CopyableStore): Promise<Sum> {
  const sum: Sum = { count: 0, digests: 0n }
  for await (const { collection, key, value } of stateOf(store))
    add(sum, JSON.stringify([collection, key, Buffer.from(value).toString('base64')]))
  return sum
}

function add(sum: Sum, text: string): void {
  sum.count += 1
  const digest = createHash('sha256').update(text).digest().readBigUInt64BE()
  sum.digests = BigInt.asUintN(64, sum.digests + digest)
}

/** JSON with members in the order of their names: stores make their entries in different orders. */
function canonical(entry: Entries[Section]): string {
  return JSON.stringify(entry, (_name, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  )
}

async function readNote(store: CopyableStore): Promise<Note | undefined> {
  const note = await store.kv.kvGet('meta', NOTE)
  return note === undefined ? undefined : decodeRecord(note)
}

async function writeNote(store: CopyableStore, note: Note): Promise<void> {
  await store.kv.kvWrite([{ put: 'meta', key: NOTE, value: encodeRecord(note) }])
}

/** @throws GatewayError STORE_UNAVAILABLE if a copy into this store has begun and not ended: much of it may be missing */
export async function refusePart(store: CopyableStore): Promise<void> {
  if ((await readNote(store)) === undefined) return
  const reason = 'a copy or restore into this store did not end: run the same command again'
  throw new GatewayError('STORE_UNAVAILABLE', { reason })
}

async function refuseContents(store: CopyableStore): Promise<void> {
  const isEmpty = async (section: Section) =>
    (await store.contents().read(section, undefined)).entries.length === 0
  const empty = await Promise.all(SECTIONS.map(isEmpty))
  const state = await stateOf(store).next()
  if (empty.includes(false) || !state.done)
    throw new GatewayError('STORE_UNAVAILABLE', { reason: 'the target is not empty' })
}
