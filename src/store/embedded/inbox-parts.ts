/** Makes the parts of the inboxes: what an append passes, in the order in which it does. */
import type { DeletedUsers } from '../deleted.js'
import { EmbeddedAppend } from './append.js'
import { AppendPlanner } from './append-plan.js'
import { Apply } from './apply.js'
import { Conversations } from './conversations.js'
import { DedupWindow } from './dedup.js'
import { Ends } from './ends.js'
import type { EmbeddedEnv } from './env.js'
import { Journal } from './journal.js'
import { Pending } from './pending.js'
import { Rows } from './rows.js'
import type { OpenTable } from './table.js'

export type InboxParts = ReturnType<typeof inboxParts>

export function inboxParts(env: EmbeddedEnv, table: OpenTable, dedupWindowMs: number, deleted: DeletedUsers) {
  const pending = new Pending()
  const rows = new Rows(table)
  const conversations = new Conversations(table)
  const dedup = new DedupWindow(table, dedupWindowMs)
  const ends = new Ends(table, rows, pending)
  const journal = new Journal(env, table)
  const apply = new Apply({ env, rows, conversations, dedup, pending, journal })
  const planner = new AppendPlanner(rows, ends, dedup, pending, deleted)
  const append = new EmbeddedAppend({ env, planner, ends, pending, journal, apply })
  return { env, rows, ends, conversations, dedup, pending, journal, apply, append }
}
