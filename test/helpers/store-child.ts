/**
 * A child process with a store, for tests of what remains after it ends.
 * Arguments: the data folder (on MongoDB the database) and the task. Writes one JSON value per line.
 */
import { once } from 'node:events'
import { writeSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { toGatewayError } from '../../src/core/errors.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import type { Store } from '../../src/store/store.js'
import { ANN, BOB, message } from './store-samples.js'

const [, , dir = '', task] = process.argv
const HOUR_MS = 3_600_000

/** Writes synchronously, so that a line is out before anything else happens. */
const tell = (value: unknown) => void writeSync(1, `${JSON.stringify(value)}\n`)

/** Batches of 1 to 50 messages, each large enough that a small disk fills up soon. */
function batch(): ReturnType<typeof message>[] {
  const text = `{"sender":"${ANN}","recipient":"${BOB}","content":"${'x'.repeat(500)}"}`
  return Array.from({ length: 1 + Math.floor(Math.random() * 50) }, () => message(ANN, BOB, { text }))
}

interface Refusal {
  readonly kind: string
  readonly reason: string | undefined
}

async function refusalOf(work: () => Promise<unknown>): Promise<Refusal | undefined> {
  try {
    await work()
    return undefined
  } catch (thrown) {
    const { kind, info } = toGatewayError(thrown)
    return { kind, reason: info?.reason }
  }
}

/** Appends until it is killed, once a turn of the event loop as a gateway does; writes the last seq of each acknowledged batch. */
async function append(store: Store): Promise<void> {
  for (;;) {
    tell((await store.inbox.append(batch())).at(-1)?.seq)
    await nextTurn()
  }
}

/** Sets all keys of a group to the next number until it is killed; writes each acknowledged number. */
async function group(store: Store): Promise<void> {
  const known = await store.kv.kvGet('meta', ['group', 0])
  for (let n = Number(known && Buffer.from(known)) + 1 || 1; ; n++) {
    const value = Buffer.from(String(n))
    const keys = Array.from({ length: 50 }, (_, i) => ['group', i])
    await store.kv.kvWrite(keys.map(key => ({ put: 'meta', key, value })))
    tell(n)
  }
}

/** Waits for the small disk, appends until it is full, writes the errors, waits until there is room, and continues. */
async function fill(store: Store): Promise<void> {
  // Commits on the main thread, which gives the lock back before it goes on: this process may be stopped in any moment now.
  await nextTurn()
  await store.ping()
  tell({ ready: true })
  await once(process.stdin, 'data')
  let acknowledged = 0
  let refusal: Refusal | undefined
  while (refusal === undefined) {
    refusal = await refusalOf(async () => {
      acknowledged = (await store.inbox.append(batch())).at(-1)?.seq ?? 0
    })
  }
  const rows = await store.inbox.readInbox(BOB, 0, 1_000_000)
  tell({ refusal, acknowledged, lastSeq: await store.inbox.lastSeq(BOB), rows: rows.length })
  await once(process.stdin, 'data')
  tell({
    next: (await store.inbox.append([message(ANN, BOB)])).at(-1)?.seq,
    lastSeq: await store.inbox.lastSeq(BOB),
  })
  process.stdin.destroy()
  await store.close()
}

const store: Store =
  process.env.MUMI_TEST_STORE === 'mongodb'
    ? (await import('./mongodb.js')).mongoStore(dir)
    : new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: HOUR_MS })
const refusal = await refusalOf(() => store.open())
if (task === 'open') tell(refusal ?? 'open')
if (refusal === undefined && task === 'append') await append(store)
if (refusal === undefined && task === 'group') await group(store)
if (refusal === undefined && task === 'fill') await fill(store)
