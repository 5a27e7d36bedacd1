/** Finds a message by its id. No index has ids alone, but an id has its time, and an inbox is in the order of time. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type InboxRow, madeAt, type UserId } from '../core/model.js'
import type { InboxLog } from '../store/store.js'

type Log = Pick<InboxLog, 'firstSeq' | 'lastSeq' | 'readInbox'>

export interface Found {
  readonly inbox: UserId
  readonly row: InboxRow
}

/**
 * Rows of one inbox are out of the order of time by no more than this, ms: what is sent in bulk waits behind other
 * messages (backlog.ts), and clocks of several gateways differ.
 */
const DISORDER_MS = 120_000
const ACCOUNTS_PAGE = 500
/** Inboxes that are looked in at the same time. */
const AT_ONCE = 50
const ROWS_PAGE = 256
const PAGE_CHARS = 1_000_000

/** @returns the row with this id, by some log₂(messages) reads; undefined if this inbox has none @throws GatewayError */
export async function findRow(log: Log, inbox: UserId, id: string): Promise<InboxRow | undefined> {
  const [first, last] = await Promise.all([log.firstSeq(inbox), log.lastSeq(inbox)])
  const from = madeAt(id) - DISORDER_MS
  const isOld = async (seq: number) => {
    const [row] = await log.readInbox(inbox, seq - 1, 1, 1)
    return row !== undefined && madeAt(row.id) < from
  }
  // Most inboxes end before it, or are empty.
  if (last < first || (await isOld(last))) return undefined
  let old = first - 1
  for (let end = last; end - old > 1; ) {
    const middle = Math.floor((old + end) / 2)
    if (await isOld(middle)) old = middle
    else end = middle
  }
  return scan(log, inbox, { id, after: old })
}

/** Row by row, up to those that are too new. */
async function scan(
  log: Log,
  inbox: UserId,
  { id, after }: { readonly id: string; readonly after: number },
): Promise<InboxRow | undefined> {
  const to = madeAt(id) + DISORDER_MS
  for (let at = after; ; ) {
    const rows = await log.readInbox(inbox, at, ROWS_PAGE, PAGE_CHARS)
    const found = rows.find(row => row.id === id)
    const last = rows.at(-1)
    if (found !== undefined || last === undefined || madeAt(last.id) > to) return found
    at = last.seq
    await nextTurn()
  }
}

/** Accounts, oldest first, behind that one. */
type Accounts = (limit: number, after: UserId | undefined) => Promise<readonly { readonly id: UserId }[]>

/** Looks into the inboxes of all accounts, the oldest account first. @throws GatewayError */
export async function* findEverywhere(log: Log, accounts: Accounts, id: string): AsyncIterable<Found> {
  let after: UserId | undefined
  do {
    const page = await accounts(ACCOUNTS_PAGE, after)
    for (let at = 0; at < page.length; at += AT_ONCE) {
      const some = page.slice(at, at + AT_ONCE)
      const rows = await Promise.all(some.map(user => findRow(log, user.id, id)))
      for (const [i, row] of rows.entries()) {
        const owner = some[i]?.id
        if (row !== undefined && owner !== undefined) yield { inbox: owner, row }
      }
      // A store that answers at once would hold the event loop for all of them.
      await nextTurn()
    }
    after = page.length === ACCOUNTS_PAGE ? page.at(-1)?.id : undefined
  } while (after !== undefined)
}
