/** The parts of one open MongoDB store. */
import type { AnswersInOrder } from '../../flow/in-order.js'
import { DeletedUsers, Remains } from '../deleted.js'
import { MongoContents } from './contents.js'
import { MongoCursors } from './cursors.js'
import type { MongoEnv } from './env.js'
import { MongoFormat } from './format.js'
import { MongoInbox } from './inbox.js'
import { MongoKv } from './kv.js'
import { MongoLease } from './lease.js'
import { MongoShared } from './shared.js'
import { MongoTexts } from './texts.js'
import { MongoUsers } from './users.js'

export interface MongoParts {
  readonly lease: MongoLease
  readonly users: MongoUsers
  readonly inbox: MongoInbox
  readonly cursors: MongoCursors
  readonly kv: MongoKv
  readonly shared: MongoShared
  readonly contents: MongoContents
  readonly format: MongoFormat
}

/** @param writes writes of all roles are answered in the order of the calls */
export function makeParts(env: MongoEnv, writes: AnswersInOrder): MongoParts {
  const deleted = new DeletedUsers()
  const lease = new MongoLease(env)
  const texts = new MongoTexts(env)
  const inbox = new MongoInbox(env, texts, writes, deleted)
  const cursors = new MongoCursors(env, writes, deleted)
  const kv = new MongoKv(env, lease, writes, deleted)
  const shared = new MongoShared(env, writes, deleted)
  return {
    lease,
    users: new MongoUsers(env, writes, deleted, new Remains(kv, [inbox, cursors, shared])),
    inbox,
    cursors,
    kv,
    shared,
    contents: new MongoContents(env),
    format: new MongoFormat(env, texts),
  }
}
