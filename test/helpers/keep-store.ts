/**
 * Makes the folder that is kept of today's data format (test/fixtures/store-format-N), to be run once for each format,
 * before it is released: `node --import ./scripts/typescript.mjs test/helpers/keep-store.ts FOLDER`. The process kills itself, so
 * that the newest messages are in the journal alone.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { gzipSync } from 'node:zlib'
import { pairConversation } from '../../src/core/model.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import type { Store } from '../../src/store/store.js'
import { ANN, BOB, broadcast, EVE, message, move, user } from './store-samples.js'

/** What a version says of a store, without what changes with the time at which it is asked. */
export async function view({ users, inbox, cursors, kv }: Store) {
  const retained = await kv.kvGet('retained', ['a', '中'])
  return {
    users: await users.findUsers({}, 10),
    ann: await inbox.readInbox(ANN, 0, 100),
    bob: await inbox.readInbox(BOB, 0, 100),
    bytes: [await inbox.inboxBytes(ANN), await inbox.inboxBytes(BOB)],
    first: [await inbox.firstSeq(ANN), await inbox.firstSeq(BOB)],
    talk: (await inbox.readConversation(pairConversation(ANN, BOB), 100)).map(({ inbox, row }) => [
      inbox,
      row.seq,
    ]),
    cursors: [await cursors.cursor(BOB, ''), await cursors.cursor(BOB, 'phone'), await cursors.furthest(BOB)],
    retained: retained && Buffer.from(retained).toString(),
  }
}

async function fill(store: Store): Promise<void> {
  for (const id of [BOB, ANN, EVE]) await store.users.createUser(user(id, { username: `u${id}` }))
  await store.users.changeUser(BOB, { disabledAt: 1_790_000_000_000, role: 'admin' })
  await store.inbox.append([message(ANN, BOB), message(BOB, ANN, { dedupKey: 'k' }), message(EVE, BOB)])
  await store.inbox.append([broadcast(EVE, ANN), broadcast(EVE, BOB)])
  await store.inbox.append([message(ANN, BOB, { expiresAt: 4_000_000_000_000 })])
  await store.inbox.trimInbox(BOB, 1, 10)
  await store.cursors.moveCursors([
    move(BOB, '', { confirmed: 2, sent: 3 }),
    move(BOB, 'phone', { confirmed: 1, sent: 4, released: [3] }),
  ])
  const value = Buffer.from('a value')
  await store.kv.kvWrite([
    { put: 'retained', key: ['a', '中'], value },
    { put: 'sessions', key: [BOB, 'token'], value },
  ])
  await store.users.deleteUser(EVE)
}

/** In a process of its own. */
async function fillAndDie(dir: string): Promise<void> {
  const store = new EmbeddedStore({ dir, durability: 'flush', dedupWindowMs: 60_000 })
  await store.open()
  await fill(store)
  await store.inbox.append([message(BOB, ANN), message(ANN, BOB)])
  process.send?.(await view(store))
  process.once('message', () => process.kill(process.pid, 'SIGKILL'))
}

async function keep(folder: string): Promise<void> {
  const dir = join(mkdtempSync(join(tmpdir(), 'keep-')), 'store')
  const child = fork(process.argv[1] ?? '', [folder, dir])
  const [seen] = await once(child, 'message')
  child.send('die')
  await once(child, 'exit')
  mkdirSync(folder)
  writeFileSync(join(folder, 'expected.json'), `${JSON.stringify(seen, null, 2)}\n`)
  const names = readdirSync(dir).filter(name => name !== 'lock.mdb')
  for (const name of names)
    writeFileSync(join(folder, `${name}.gz`), gzipSync(readFileSync(join(dir, name)), { level: 9 }))
}

const [, main = '', folder, dir] = process.argv
if (isMainThread && main.endsWith('keep-store.ts') && folder !== undefined)
  await (dir === undefined ? keep(folder) : fillAndDie(dir))
