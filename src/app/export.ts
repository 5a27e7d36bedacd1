/** Everything that a store has of one person, in pages: for `mumi export`. No password hash and no secret of a login is in it. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { PendingDeletions } from '../accounts/pending-deletions.js'
import { SecondFactors } from '../auth/second-factor/second-factors.js'
import { GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { decodeRecord } from '../core/record.js'
import { FileRows } from '../files/rows.js'
import type { ExportPage } from '../handle/services.js'
import { decodePacket } from '../mqtt/routing/persistence/kv.js'
import type { CopyableStore, Entries, Section } from '../store/contents.js'
import type { KvCollection, KvKey, KvValue } from '../store/store.js'

/** The steps of an export, in their order. Those behind the first read all of their section, for there is no index by sender. */
const STEPS = ['person', 'devices', 'furthest', 'trimmed', 'rows'] as const

interface Place {
  readonly step: number
  /** In words of the store. */
  readonly from?: string | undefined
}

/** How long one page looks, ms: then its asker, and everyone else, gets on. */
const PAGE_MS = 50

/** @param from `next` of the page before; undefined: the first one. @throws GatewayError */
export async function exportPage(
  store: CopyableStore,
  id: UserId,
  from: string | undefined,
): Promise<ExportPage> {
  let place: Place = from === undefined ? { step: 0 } : placeOf(from)
  const entries: object[] = []
  const end = performance.now() + PAGE_MS
  while (entries.length === 0 || performance.now() < end) {
    const step = STEPS[place.step]
    if (step === undefined) return { entries, next: undefined }
    const next =
      step === 'person'
        ? await person(store, id, entries)
        : await part(store, step, { id, place, entries }).catch(thrown => refusePlace(place, thrown))
    place = next === undefined ? { step: place.step + 1 } : { ...place, from: next }
    if (performance.now() >= end) break
    await nextTurn()
  }
  return { entries, next: JSON.stringify(place) }
}

/** @throws GatewayError BAD_FIELD */
function placeOf(text: string): Place {
  try {
    const { step, from } = JSON.parse(text) as Place
    return { step: Number(step), ...(typeof from === 'string' && { from }) }
  } catch (thrown) {
    throw new GatewayError('BAD_FIELD', { field: 'from', reason: 'must be `next` of a reply' }, thrown)
  }
}

/** What a store cannot take as a place is no fault of the store. @throws always */
function refusePlace({ from }: Place, thrown: unknown): never {
  if (from === undefined || thrown instanceof GatewayError) throw thrown
  throw new GatewayError('BAD_FIELD', { field: 'from', reason: 'must be `next` of a reply' }, thrown)
}

/** The account, its logins and what the broker keeps of its clients. */
async function person({ users, kv }: CopyableStore, id: UserId, entries: object[]): Promise<undefined> {
  entries.push({ section: 'account', ...(await users.findUser(id)) })
  for await (const { value } of kv.kvRange('sessions', [id])) {
    const {
      hash: _,
      hashBefore: _before,
      salt: _salt,
      ...login
    } = decodeRecord<Record<string, unknown>>(value)
    entries.push({ section: 'login', ...login })
  }
  const { since, recoveryCodes, passkeys } = await new SecondFactors(users).state(id)
  if (since !== undefined) entries.push({ section: 'second-factor', since, recoveryCodes })
  for (const { id: passkey, name, createdAt } of passkeys)
    entries.push({ section: 'passkey', passkey, name, createdAt })
  const removedAt = await new PendingDeletions(kv, 0).at(id)
  if (removedAt !== undefined) entries.push({ section: 'deletion', at: removedAt })
  for await (const file of new FileRows(kv).all(id)) entries.push({ section: 'file', ...file })
  const ofClients: readonly (readonly [KvCollection, KvKey])[] = [
    ['meta', ['session']],
    ['subscriptions', []],
    ['queue', []],
    ['incoming', []],
    ['wills', []],
  ]
  for (const [collection, prefix] of ofClients)
    for await (const { key, value } of kv.kvRange(collection, prefix, [`${id}:`, `${id};`]))
      entries.push({
        section: `mqtt-${collection === 'meta' ? 'session' : collection}`,
        key,
        ...plain(value),
      })
  for await (const { value } of kv.kvRange('meta', ['retained', id])) {
    const topic = Buffer.from(value).toString()
    const kept = await kv.kvGet('retained', topic.split('/'))
    if (kept !== undefined) entries.push({ section: 'mqtt-retained', key: [topic], ...plain(kept) })
  }
  return undefined
}

/** A stored packet or record as JSON can say it: bytes are base64. */
function plain(value: KvValue): object {
  // A record is JSON, and a packet begins with its flags, which are below any brace.
  if (value[0] === '{'.charCodeAt(0)) return { value: decodeRecord<object>(value) }
  const {
    payload,
    block,
    brokerId: _,
    brokerCounter: _counter,
    session: _session,
    ...packet
  } = decodePacket(value)
  const base64 = (bytes: Buffer | Uint8Array | string) => Buffer.from(bytes as Buffer).toString('base64')
  return {
    value: {
      ...packet,
      ...(payload !== undefined && { payload: base64(payload) }),
      ...(block !== undefined && { properties: base64(block) }),
    },
  }
}

interface Asked {
  readonly id: UserId
  readonly place: Place
  readonly entries: object[]
}

/** One page of a section. @returns where the next begins */
async function part(store: CopyableStore, section: Section, { id, place, entries }: Asked) {
  const page = await store.contents().read(section, place.from)
  for (const entry of page.entries as readonly Entries[Section][]) {
    if (section === 'rows') entries.push(...message(entry as Entries['rows'], id))
    else if ((entry as Entries['devices']).userId === id) entries.push({ section, ...entry })
  }
  return page.next
}

/** Sent: also what lies in the inboxes of others. */
function message({ end: _, text, ...row }: Entries['rows'], id: UserId): object[] {
  if (row.inbox !== id && row.sender !== id) return []
  const section = row.inbox === id ? 'received' : 'sent'
  return [{ section, ...row, message: JSON.parse(text) }]
}
