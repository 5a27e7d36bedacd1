/** What operators do with inboxes and messages. */
import { GatewayError } from '../../core/errors.js'
import { writtenIn } from '../../core/message.js'
import { MESSAGE_KINDS } from '../../core/message-kinds.js'
import { type InboxRow, madeAt, type UserId } from '../../core/model.js'
import { formatTime } from '../../core/time.js'
import { type Found, findEverywhere, findRow } from '../../inbox/find.js'
import type { AdminData } from '../../protocol/admin.js'
import type { Services } from '../services.js'
import { act, type Done, findAccount } from './act.js'

/** Devices of an account that are read, and that are told of it: those farthest behind. */
const DEVICES = { read: 10_000, told: 100 }
/** UTF-16 units of the messages of one reply. */
const REPLY_CHARS = 1_000_000
/** Inboxes that a broadcast is traced in; all are counted. */
const TRACED_INBOXES = 100

/** What waits for a device that has confirmed up to some seq. */
async function waitingBehind(
  { inbox }: Services,
  userId: UserId,
  confirmed: number,
  first: number,
  last: number,
) {
  const unconfirmed = Math.max(0, last - Math.max(confirmed, first - 1))
  const none = { unconfirmed, unconfirmed_bytes: 0, oldest_at: '', oldest_seconds: 0 }
  if (unconfirmed === 0) return none
  const [bytes, [oldest]] = await Promise.all([
    inbox.store.inboxBytes(userId, confirmed),
    inbox.store.readInbox(userId, confirmed, 1, 1),
  ])
  if (oldest === undefined) return none
  const at = madeAt(oldest.id)
  const seconds = Math.max(0, Math.round((Date.now() - at) / 1000))
  return { unconfirmed, unconfirmed_bytes: bytes, oldest_at: formatTime(at), oldest_seconds: seconds }
}

async function farthestBehind({ inbox }: Services, userId: UserId) {
  const all = await inbox.cursors.devices(userId, DEVICES.read)
  const behind = all.sort((a, b) => a.confirmed - b.confirmed).slice(0, DEVICES.told)
  return { behind, total: all.length }
}

async function devicesOf(services: Services, userId: UserId, first: number, last: number) {
  const { inbox } = services
  const online = new Set(inbox.readersOf(userId).map(({ device }) => device))
  const { behind, total } = await farthestBehind(services, userId)
  const devices = await Promise.all(
    behind.map(async ({ device, confirmed, sent, seenAt }) => ({
      device,
      online: online.has(device),
      ...{ confirmed_seq: confirmed, sent_seq: sent },
      ...(await waitingBehind(services, userId, confirmed, first, last)),
      seen_at: formatTime(seenAt),
    })),
  )
  return { devices, devices_total: total }
}

/** A message without its text. */
const headOf = (row: InboxRow) => ({
  seq: row.seq,
  id: row.id,
  kind: row.kind,
  from: row.sender,
  at: formatTime(madeAt(row.id)),
  ...(row.expiresAt !== undefined && { expires_at: formatTime(row.expiresAt) }),
  bytes: Buffer.byteLength(row.text),
})

async function show(services: Services, data: AdminData<'inbox.show'>): Promise<Done> {
  const { id } = await findAccount(services, data.user)
  const { store } = services.inbox
  const [last, first, bytes] = await Promise.all([
    store.lastSeq(id),
    store.firstSeq(id),
    store.inboxBytes(id),
  ])
  const kept = { messages: last - first + 1, bytes, first_seq: first, last_seq: last }
  const places = await devicesOf(services, id, first, last)
  const about = { userId: id, ...(data.text && { event: 'inbox.read' as const }) }
  if (data.messages === undefined) return { data: { user: id, inbox: kept, ...places }, about }
  const after = data.after ?? places.devices[0]?.confirmed_seq ?? 0
  const rows = await store.readInbox(id, after, data.messages, REPLY_CHARS)
  const messages = rows.map(row => ({ ...headOf(row), ...(data.text && { content: writtenIn(row) }) }))
  const next = rows.at(-1)?.seq ?? last
  return { data: { user: id, inbox: kept, ...places, messages, ...(next < last && { next }) }, about }
}

/** Connections stay. A device that had not had what is removed is told so with the next message, as by `inbox.maxAge`. */
async function purge(services: Services, data: AdminData<'inbox.purge'>): Promise<Done> {
  const { inbox, retention } = services
  const before = data.before === undefined ? undefined : Date.parse(data.before)
  const bad = (reason: string) => new GatewayError('BAD_FIELD', { field: 'before', reason })
  if ((before === undefined) === (data.all === undefined)) throw bad('either this or all')
  if (Number.isNaN(before)) throw bad('must be a time, as 2026-01-31T12:00:00Z')
  if (data.before !== undefined && !isDay(data.before)) throw bad('must begin with a day that there is')
  const { id } = await findAccount(services, data.user)
  const { removed, dropped } = await retention.purge(id, before)
  const [first, last] = await Promise.all([inbox.store.firstSeq(id), inbox.store.lastSeq(id)])
  const about = { userId: id, count: removed }
  return { data: { user: id, removed, dropped, left: last - first + 1 }, about }
}

/** Date.parse takes February 31 for March 3. */
function isDay(text: string): boolean {
  const [date] = /^\d{4}-\d{2}-\d{2}/.exec(text) ?? []
  const time = Date.parse(date ?? '')
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(date ?? '')
}

/** RFC 9562, 4 and 5.7. */
const MESSAGE_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** The inboxes that have the message, and one row of it. */
async function inboxesWith(services: Services, id: string, name: string | undefined) {
  const { accounts, inbox } = services
  const found: Found[] = []
  let total = 0
  if (name !== undefined) {
    const user = await findAccount(services, name)
    const row = await findRow(inbox.store, user.id, id)
    return row === undefined ? { found, total } : { found: [{ inbox: user.id, row }], total: 1 }
  }
  const page = (limit: number, after: UserId | undefined) => accounts.query({}, limit, after)
  for await (const one of findEverywhere(inbox.store, page, id)) {
    total++
    if (found.length < TRACED_INBOXES) found.push(one)
    if (!MESSAGE_KINDS[one.row.kind].isShared) break
  }
  return { found, total }
}

/** Where a message stands with each device of an inbox. */
async function traceIn(services: Services, { inbox: userId, row }: Found) {
  const { seq, expiresAt } = row
  const readers = services.inbox.readersOf(userId)
  const isExpired = expiresAt !== undefined && Date.now() >= expiresAt
  const { behind, total } = await farthestBehind(services, userId)
  const devices = behind.map(({ device, confirmed, sent, settled = [] }) => {
    const live = readers.filter(reader => reader.device === device)
    const states = live.map(reader => reader.stateOf(seq))
    const isSettled = settled.some(([from, to]) => from <= seq && seq <= to)
    const isConfirmed = seq <= confirmed || isSettled || states.includes('confirmed')
    const isSent = seq <= sent || states.includes('sent')
    const state = isConfirmed ? 'confirmed' : isSent ? 'sent' : isExpired ? 'expired' : 'waiting'
    return { device, state, online: live.length > 0 }
  })
  return { user: userId, seq, devices, devices_total: total }
}

async function trace(services: Services, data: AdminData<'message.trace'>): Promise<Done> {
  const id = data.id.toLowerCase()
  if (!MESSAGE_ID.test(id))
    throw new GatewayError('BAD_FIELD', { field: 'id', reason: 'is not the id of a message' })
  const { found, total } = await inboxesWith(services, id, data.user)
  const [first] = found
  if (first === undefined) {
    const nowhere = data.user === undefined ? 'no inbox has it' : 'the inbox of this user does not have it'
    const why = `it was never stored${data.user === undefined ? '' : ' there'}, or it was removed since`
    throw new GatewayError('NO_MESSAGE', { reason: `${nowhere}: ${why} (made at ${formatTime(madeAt(id))})` })
  }
  const { seq: _, ...head } = headOf(first.row)
  const inboxes = await Promise.all(found.map(one => traceIn(services, one)))
  return { data: { ...head, inboxes, inboxes_total: total }, about: { messageId: id } }
}

export const INBOX_ACTS = {
  'inbox.show': act('inbox.show', 'inbox.shown', show),
  'inbox.purge': act('inbox.purge', 'inbox.purged', purge),
  'message.trace': act('message.trace', 'message.traced', trace),
} as const
