/** The parts of one open embedded store. */
import { DeletedUsers, Remains } from '../deleted.js'
import { EmbeddedContents } from './contents.js'
import { EmbeddedCursors } from './cursors.js'
import type { EmbeddedEnv } from './env.js'
import { DataFormat } from './format.js'
import { EmbeddedInbox } from './inbox.js'
import { inboxParts } from './inbox-parts.js'
import { EmbeddedKv } from './kv.js'
import { EmbeddedShared } from './shared.js'
import { Strays } from './strays.js'
import type { OpenTable } from './table.js'
import { EmbeddedUsers } from './users.js'

export interface EmbeddedParts {
  readonly users: EmbeddedUsers
  readonly inbox: EmbeddedInbox
  readonly cursors: EmbeddedCursors
  readonly kv: EmbeddedKv
  readonly shared: EmbeddedShared
  readonly contents: EmbeddedContents
  readonly format: DataFormat
  readonly strays: Strays
}

export function makeParts(
  env: EmbeddedEnv,
  table: OpenTable,
  { dir, dedupWindowMs }: { readonly dir: string; readonly dedupWindowMs: number },
): EmbeddedParts {
  const deleted = new DeletedUsers()
  const inbox = new EmbeddedInbox(inboxParts(env, table, dedupWindowMs, deleted))
  const cursors = new EmbeddedCursors(env, table, deleted)
  const kv = new EmbeddedKv(env, table, deleted)
  const shared = new EmbeddedShared(env, table, deleted)
  return {
    users: new EmbeddedUsers(env, table, deleted, new Remains(kv, [inbox, cursors, shared])),
    inbox,
    cursors,
    kv,
    shared,
    contents: new EmbeddedContents(env, table, inbox),
    format: new DataFormat(env, table, dir),
    strays: new Strays(env, table),
  }
}
