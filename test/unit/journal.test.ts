/** The journal of the embedded store and what goes from it to LMDB, over real files and a real LMDB in a temporary folder. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { mock } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { GatewayError } from '../../src/core/errors.js'
import type { NewMessage } from '../../src/core/model.js'
import { DeletedUsers } from '../../src/store/deleted.js'
import { EmbeddedAppend } from '../../src/store/embedded/append.js'
import { Apply } from '../../src/store/embedded/apply.js'
import { bootId } from '../../src/store/embedded/boot-id.js'
import { EmbeddedEnv } from '../../src/store/embedded/env.js'
import { EmbeddedInbox } from '../../src/store/embedded/inbox.js'
import { inboxParts } from '../../src/store/embedded/inbox-parts.js'
import { Journal } from '../../src/store/embedded/journal.js'
import { JournalFiles } from '../../src/store/embedded/journal-files.js'
import { readJournal, STORE_ID_BYTES } from '../../src/store/embedded/journal-read.js'
import {
  decodeRecords,
  encodeRecord,
  type JournalRecord,
  RecordRoom,
} from '../../src/store/embedded/journal-record.js'
import { Pending } from '../../src/store/embedded/pending.js'
import type { Added } from '../../src/store/embedded/rows.js'
import { SyncBehind } from '../../src/store/embedded/sync-behind.js'
import type { OpenTable } from '../../src/store/embedded/table.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB, broadcast, EVE, message, messages, rowOf } from '../helpers/store-samples.js'

const ID = Buffer.alloc(STORE_ID_BYTES, 7)
const OTHER = { message: /belongs to other data/ }
const NOTHING = { records: [], segments: [] }

/** As the planner would say it. */
function added(message: NewMessage, seq: number, end = 500): Added {
  return { message, owner: Number(message.inbox), seq, end, bytes: Buffer.byteLength(message.text) }
}

function record(number: number, ...all: Added[]) {
  const { record, bytes } = encodeRecord(number, 1000 + number, all, new RecordRoom())
  return { ...record, bytes }
}

// ── records ───────────────────────────────────────────────────────────────────────────────────────────────

t.test('a record is read as it was written, up to the first that is not whole', async t => {
  const first = record(
    1,
    added(message(ANN, BOB, { dedupKey: 'ü'.repeat(100) }), 1),
    added(message(ANN, BOB, { conversation: undefined }), 2 ** 40),
    added(message(ANN, EVE, { text: '{"content":"€ 😀"}', dedupKey: '' }), 3),
    added(broadcast(ANN, BOB), 4),
    added({ ...message(ANN, BOB), inbox: EVE, expiresAt: Number.MAX_SAFE_INTEGER }, 2 ** 40, 2 ** 52),
  )
  const second = record(2, added(message(BOB, ANN), 9))
  const bytes = Buffer.concat([Buffer.from('head'), first.bytes, second.bytes])
  const plain = ({ number, rows }: JournalRecord) => ({
    number,
    rows: rows.map(({ value, owner, seq, id, conversation, dedupKey, storedAt, textApart }) => ({
      ...{ value, owner, seq, id, conversation, dedupKey, storedAt, textApart },
    })),
  })
  t.same(decodeRecords(bytes, 4).map(plain), [first, second].map(plain))
  for (const end of [bytes.length - 1, bytes.length - second.bytes.length + 3])
    t.equal(decodeRecords(bytes.subarray(0, end), 4).length, 1, 'cut short')
  for (const at of [0, 4, 9, 15, 40, second.bytes.length - 1].map(n => bytes.length - 1 - n)) {
    const damaged = Buffer.from(bytes)
    damaged[at] = ~(damaged[at] ?? 0)
    t.equal(decodeRecords(damaged, 4).length, 1, `byte ${at} is another one`)
  }
  const flipped = Buffer.from(bytes)
  flipped[40] = ~(flipped[40] ?? 0)
  t.throws(() => decodeRecords(flipped, 4, true), { message: 'the record at byte 4 is damaged' })
  t.equal(decodeRecords(bytes.subarray(0, bytes.length - 1), 4, true).length, 1, 'a write that was cut off')
  t.same(decodeRecords(Buffer.alloc(100), 0), [], 'zeros, as a disk has them behind a power cut')
})

// ── pending ───────────────────────────────────────────────────────────────────────────────────────────────

t.test('what is pending is found by inbox, key and conversation until it is applied', async t => {
  const pending = new Pending()
  const [one, two, three] = [message(ANN, BOB, { dedupKey: 'k' }), message(BOB, ANN), message(ANN, BOB)]
  const records = [record(1, added(one, 1), added(two, 1)), record(2, added(three, 2))]
  for (const each of records) pending.add(each)
  const bytes = records.flatMap(({ rows }) => rows).reduce((sum, { value }) => sum + value.length, 0)
  t.match(pending, { rows: 3, bytes, first: 1 })
  t.same(
    pending.of(Number(BOB)).map(({ seq }) => seq),
    [1, 2],
  )
  t.equal(pending.byKey('k')?.id, one.id)
  const { conversation } = one
  if (conversation === undefined) return
  t.same(
    pending.inConversation(conversation).map(({ id }) => id),
    [one, two, three]
      .map(({ id }) => id)
      .sort()
      .reverse(),
  )
  t.equal(pending.oldest(1).length, 1, 'whole records')
  t.equal(pending.oldest(3).length, 2)
  pending.add(record(3, added(message(ANN, BOB, { dedupKey: 'k' }), 3)))
  pending.applied(pending.oldest(1))
  t.match(pending, { rows: 2, first: 2 })
  t.equal(pending.byKey('k')?.seq, 3, 'the newest with that key')
  t.same(pending.of(Number(ANN)), [])
  pending.applied(pending.oldest(9))
  t.match(pending, { rows: 0, bytes: 0, first: undefined })
  t.equal(pending.byKey('k'), undefined)
})

// ── files ─────────────────────────────────────────────────────────────────────────────────────────────────

const filesOf = (dir: string) =>
  readdirSync(dir)
    .filter(name => name.startsWith('journal-'))
    .sort()

function files(
  t: Test,
  dir: string,
  last = 0,
  found: ConstructorParameters<typeof JournalFiles>[3] = NOTHING,
) {
  const all = new JournalFiles(dir, ID, last, found, cause => t.fail(String(cause)))
  return all
}

t.test('files: what was appended is read again, from the record that LMDB lacks', async t => {
  const dir = dataDir(t)
  const journal = files(t, dir)
  for (const n of [1, 2, 3]) journal.append(record(n, added(message(ANN, BOB), n)).bytes)
  await journal.close(false)
  t.same(filesOf(dir), ['journal-1'])
  const numbers = (after: number) => readJournal(dir, ID, after).records.map(({ number }) => number)
  t.same(numbers(0), [1, 2, 3])
  t.same(numbers(2), [3])
  const found = readJournal(dir, ID, 1)
  const next = files(t, dir, 3, found)
  t.equal(next.next, 4)
  next.append(record(4, added(message(ANN, BOB), 4)).bytes)
  t.same(filesOf(dir), ['journal-1', 'journal-4'], 'an old file is not written to')
  next.removeUpTo(2)
  t.equal(filesOf(dir).length, 2, 'LMDB lacks the third')
  next.removeUpTo(3)
  t.same(filesOf(dir), ['journal-4'])
  await next.close(true)
  t.same(filesOf(dir), [])
})

t.test('files: the end that a crash cut off does not count, and the next file goes on behind it', async t => {
  const dir = dataDir(t)
  const journal = files(t, dir)
  const records = [1, 2].map(n => record(n, added(message(ANN, BOB), n)))
  for (const { bytes } of records) journal.append(bytes)
  await journal.close(false)
  truncateSync(join(dir, 'journal-1'), STORE_ID_BYTES + 23 + (records[0]?.bytes.length ?? 0) + 10)
  const found = readJournal(dir, ID, 0)
  t.equal(found.records.length, 1)
  const next = files(t, dir, 1, found)
  next.append(record(2, added(message(ANN, BOB), 2)).bytes)
  await next.close(false)
  t.same(
    readJournal(dir, ID, 0).records.map(({ number }) => number),
    [1, 2],
  )
  // The end of a file is lost by a power cut, and the file behind it is there: what comes behind a loss is lost, too.
  truncateSync(join(dir, 'journal-1'), STORE_ID_BYTES + 28)
  ofAnotherStart(join(dir, 'journal-2'))
  writeFileSync(join(dir, 'journal-9'), '')
  writeFileSync(join(dir, 'journal-10'), Buffer.alloc(1000))
  t.same(readJournal(dir, ID, 0).records, [])
  t.same(filesOf(dir), [], 'of none of them anything counts')
})

/** As if the system had been started anew since. */
function ofAnotherStart(path: string): void {
  const bytes = readFileSync(path)
  bytes.writeBigInt64BE(bootId() + 1n, STORE_ID_BYTES + 15)
  writeFileSync(path, bytes)
}

t.test(
  'files: one that is missing, emptied or under another name is refused, and nothing is removed',
  async t => {
    if (bootId() === 0n) return t.pass('the system does not tell when it was started')
    const dir = dataDir(t)
    let found: ConstructorParameters<typeof JournalFiles>[3] = NOTHING
    for (const n of [1, 3, 5]) {
      const journal = files(t, dir, n - 1, found)
      for (const number of [n, n + 1]) journal.append(record(number, added(message(ANN, BOB), number)).bytes)
      await journal.close(false)
      found = readJournal(dir, ID, 0)
    }
    t.equal(found.records.length, 6)
    const middle = join(dir, 'journal-3')
    const bytes = readFileSync(middle)
    const refused = (message: RegExp, after = 0) => {
      const before = filesOf(dir)
      t.throws(() => readJournal(dir, ID, after), { message })
      t.same(filesOf(dir), before)
    }
    rmSync(middle)
    refused(/journal-5: records 3 to 4 are missing before it/)
    refused(/journal-5: record 4 is missing before it/, 3)
    for (const emptied of [Buffer.alloc(bytes.length), Buffer.alloc(0), bytes.subarray(0, 39)]) {
      writeFileSync(middle, emptied)
      refused(/journal-5: records 3 to 4 are missing/)
    }
    writeFileSync(middle, bytes.subarray(0, -1))
    refused(/journal-5: record 4 is missing/)
    writeFileSync(middle, readFileSync(join(dir, 'journal-1')))
    refused(/journal-3 has record 1 in the place of 3/)
    writeFileSync(middle, bytes)
    for (const name of ['journal-99999999999999999999', 'journal-07', 'journal-0', `journal-${2 ** 48}`]) {
      writeFileSync(join(dir, name), bytes)
      refused(new RegExp(`${name} is no file of the journal`))
      rmSync(join(dir, name))
    }
    mkdirSync(join(dir, 'journal-9'))
    refused(/journal-9 is no file of the journal/)
    rmdirSync(join(dir, 'journal-9'))
    symlinkSync(join(dir, 'nowhere'), join(dir, 'journal-9'))
    refused(/journal-9 is no file of the journal/)
    rmSync(join(dir, 'journal-9'))
    writeFileSync(join(dir, 'journal-3.bak'), bytes)
    t.equal(readJournal(dir, ID, 0).records.length, 6, 'other names are none of its business')
  },
)

t.test('files: a journal of other data, or with a hole before it, is refused', async t => {
  const dir = dataDir(t)
  const journal = files(t, dir, 4)
  journal.append(record(5, added(message(ANN, BOB), 1)).bytes)
  await journal.close(false)
  t.equal(readJournal(dir, ID, 4).records.length, 1)
  t.throws(() => readJournal(dir, Buffer.alloc(STORE_ID_BYTES), 4), OTHER)
  t.throws(() => readJournal(dir, undefined, 4), OTHER)
  if (bootId() === 0n) return t.pass('the system does not tell when it was started')
  t.throws(() => readJournal(dir, ID, 3), { message: /record 4 is missing before it/ })
  t.same(filesOf(dir), ['journal-5'], 'and left as it is')
  ofAnotherStart(join(dir, 'journal-5'))
  t.same(readJournal(dir, ID, 3).records, [], 'after a power cut those before it may be lost')
  t.same(filesOf(dir), [])
  writeFileSync(join(dir, 'journal-5'), 'x'.repeat(1000))
  t.throws(() => readJournal(dir, ID, 4), OTHER)
})

t.test(
  'files: a full file is followed by another one, and removed when it is on the disk and applied',
  async t => {
    const dir = dataDir(t)
    const journal = files(t, dir)
    const large = message(ANN, BOB, { text: JSON.stringify({ x: 'x'.repeat(5 << 20) }) })
    for (const n of [1, 2, 3]) journal.append(record(n, added(large, n)).bytes)
    t.same(filesOf(dir), ['journal-1', 'journal-3'])
    await journal.synced()
    t.equal(journal.oldest, 2)
    journal.removeUpTo(2)
    t.same(filesOf(dir), ['journal-3'])
    t.equal(journal.oldest, undefined)
    await journal.close(false)
    t.equal(readJournal(dir, ID, 2).records.length, 1)
  },
)

// ── syncs ─────────────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'syncs: one at a time; who asks gets one that begins behind the question; a refusal is final',
  async t => {
    const begun: boolean[] = []
    const ends: ((error?: Error) => void)[] = []
    const failures: unknown[] = []
    const behind = new SyncBehind(
      isAwaited => {
        begun.push(isAwaited)
        return new Promise((resolve, reject) => ends.push(error => (error ? reject(error) : resolve())))
      },
      cause => failures.push(cause),
    )
    const first = behind.synced()
    behind.written()
    t.equal(behind.isDirty, true, 'written since it began')
    const second = behind.synced()
    t.same(begun, [true])
    ends[0]?.()
    await first
    t.same(begun, [true, true])
    ends[1]?.(new Error('EIO'))
    await t.rejects(second, { message: 'EIO' })
    await t.rejects(behind.synced(), { message: 'EIO' })
    t.match(failures, [{ message: 'EIO' }])
    t.equal(begun.length, 2)
  },
)

t.test('what may wait longer is synced with the next that may not', async t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  let begun = 0
  let end = () => {}
  const behind = new SyncBehind(
    () => {
      begun++
      return new Promise(resolve => {
        end = resolve
      })
    },
    cause => t.fail(String(cause)),
  )
  behind.written(1000)
  mock.timers.tick(999)
  t.equal(begun, 0)
  mock.timers.tick(1)
  t.equal(begun, 1, 'by itself')
  behind.written(1000)
  behind.written(300)
  end()
  await nextTurn()
  mock.timers.tick(300)
  t.equal(begun, 2, 'the shortest delay since the sync began')
  end()
  await nextTurn()
  behind.written(1000)
  behind.written()
  behind.written(1000)
  mock.timers.tick(100)
  t.equal(begun, 3, 'the shorter delay')
})

// ── the journal and LMDB ──────────────────────────────────────────────────────────────────────────────────

interface Options {
  readonly dir: string
  readonly durability?: 'commit' | 'flush'
}

/** The parts that an inbox is made of, over the data in a folder. */
async function parts({ dir, durability = 'commit' }: Options) {
  const env = new EmbeddedEnv({ dir, durability, check: { pages: 'always', timeoutMs: 1000 } })
  return env.open((table: OpenTable) => {
    const made = inboxParts(env, table, 60_000, new DeletedUsers())
    return {
      ...made,
      inbox: new EmbeddedInbox(made),
    }
  })
}

/** As the death of the process leaves it. */
async function die({ env, apply, journal }: Awaited<ReturnType<typeof parts>>): Promise<void> {
  apply.stop()
  await journal.close(false)
  await env.close()
}

t.test('an append is acknowledged by the journal, and goes to LMDB behind that', async t => {
  const dir = join(dataDir(t), 'store')
  const made = await parts({ dir })
  const { append, apply, pending, rows, dedup, journal, env } = made
  const keyed = message(ANN, BOB, { dedupKey: 'k' })
  t.match(await append.run([keyed, broadcast(ANN, BOB)]), [{ seq: 1 }, { seq: 2 }])
  t.match(await append.run([{ ...keyed, id: message(ANN, BOB).id }]), [
    { seq: 1, id: keyed.id, repeat: true },
  ])
  t.equal(rows.get(Number(BOB), 1), undefined)
  t.match(pending, { rows: 2, first: 1 })
  t.equal(journal.next, 2)
  await apply.all()
  t.match(pending, { rows: 0, first: undefined })
  t.match(
    env.read(() => rows.get(Number(BOB), 1)),
    rowOf(keyed, 1),
  )
  t.match(
    env.read(() => rows.get(Number(BOB), 2)),
    { kind: 'broadcast' },
  )
  t.match(dedup.find('k', Date.now()), { seq: 1, id: keyed.id })
  t.match(await append.run([{ ...keyed, id: message(ANN, BOB).id }]), [
    { seq: 1, id: keyed.id, repeat: true },
  ])
  await die(made)
})

t.test('a process that dies leaves nothing behind that the next one does not find', async t => {
  const dir = join(dataDir(t), 'store')
  const sent = messages(5)
  let made = await parts({ dir, durability: 'flush' })
  await made.append.run(sent.slice(0, 2))
  await made.apply.all()
  await made.append.run(sent.slice(2))
  await die(made)
  t.same(filesOf(dir), ['journal-1'])

  made = await parts({ dir })
  const records = made.journal.read()
  t.same(
    records.flatMap(({ rows }) => rows).map(({ seq }) => seq),
    [3, 4, 5],
    'LMDB has the first two',
  )
  t.equal(made.journal.next, 3)
  await die(made)

  const { env, inbox } = await parts({ dir })
  await inbox.recover()
  t.same(
    await inbox.readInbox(BOB, 0, 10),
    sent.map((one, i) => rowOf(one, i + 1)),
  )
  t.match(await inbox.append([message(ANN, BOB)]), [{ seq: 6 }])
  await inbox.close()
  t.same(filesOf(dir), [], 'what is closed needs no journal')
  await env.close()
})

t.test('what is in the journal alone is read with what LMDB has', async t => {
  const dir = join(dataDir(t), 'store')
  const made = await parts({ dir })
  await die(made)
  const { env, inbox } = await parts({ dir })
  await inbox.recover()
  const sent = messages(7)
  await inbox.append(sent.slice(0, 3))
  await inbox.stored()
  await inbox.append(sent.slice(3))
  const seqs = async (...read: Parameters<EmbeddedInbox['readInbox']>) =>
    (await inbox.readInbox(...read)).map(({ seq }) => seq)
  t.same(await seqs(BOB, 0, 100), [1, 2, 3, 4, 5, 6, 7])
  t.same(await seqs(BOB, 1, 3), [2, 3, 4])
  t.same(await seqs(BOB, 5, 100), [6, 7])
  t.same(await seqs(BOB, 0, 100, 1), [1])
  t.equal(await inbox.lastSeq(BOB), 7)
  t.equal(await inbox.firstSeq(BOB), 1)
  t.equal(
    await inbox.inboxBytes(BOB),
    sent.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0),
  )
  const [{ conversation } = message(ANN, BOB)] = sent
  const told = async (limit: number, before?: string) =>
    conversation && (await inbox.readConversation(conversation, limit, before)).map(({ row }) => row.seq)
  t.same(await told(100), [7, 6, 5, 4, 3, 2, 1])
  t.same(await told(5), [7, 6, 5, 4, 3])
  t.same(await told(3, sent[5]?.id), [5, 4, 3])
  t.same(await told(3, sent[2]?.id), [2, 1])
  t.equal(await inbox.trimInbox(BOB, 5, 100), 5, 'rows of both')
  t.same(await seqs(BOB, 0, 100), [6, 7])
  await inbox.close()
  await env.close()
})

t.test('of a deleted account no text is left in the journal', async t => {
  const dir = join(dataDir(t), 'store')
  const { env, inbox, journal } = await parts({ dir })
  await inbox.recover()
  const secret = message(ANN, BOB, { text: '{"content":"the secret"}' })
  await inbox.append([secret, message(ANN, EVE)])
  const texts = () => filesOf(dir).map(name => readFileSync(join(dir, name), 'latin1').includes('the secret'))
  t.same(texts(), [true])
  await inbox.purge(BOB)
  t.same(texts(), [false])
  t.match(await inbox.append([message(ANN, EVE)]), [{ seq: 2 }])
  t.equal(journal.next, 3)
  await inbox.close()
  await env.close()
})

t.test('a journal that is damaged is refused, with all that is whole behind the damage', async t => {
  if (bootId() === 0n) return t.pass('the system does not tell when it was started')
  const dir = join(dataDir(t), 'store')
  const made = await parts({ dir })
  await made.append.run(messages(1))
  await made.append.run(messages(1))
  await die(made)
  const path = join(dir, 'journal-1')
  const bytes = readFileSync(path)
  bytes[100] = ~(bytes[100] ?? 0)
  writeFileSync(path, bytes)
  const again = await parts({ dir })
  t.throws(
    () => again.journal.read(),
    ofKind('STORE_UNAVAILABLE', { info: { reason: /journal-1: the record at byte 39 is damaged/ } }),
  )
  t.ok(readFileSync(path).equals(bytes))
  await again.env.close()
})

t.test('a journal beside other data is refused with a word', async t => {
  const [one, other] = [join(dataDir(t), 'store'), join(dataDir(t), 'store')]
  const made = await parts({ dir: one })
  await made.append.run(messages(2))
  await die(made)
  const second = await parts({ dir: other })
  await second.append.run(messages(1))
  await second.apply.all()
  writeFileSync(join(other, 'journal-9'), readFileSync(join(one, 'journal-1')))
  t.throws(
    () => second.journal.read(),
    ofKind('STORE_UNAVAILABLE', { info: { reason: /journal-9 belongs to other data/ } }),
  )
  t.ok(existsSync(join(other, 'journal-9')))
  await die(second)
})

// ── append and apply, over parts that fail when they are told to ──────────────────────────────────────────

t.test('the id of a store is on the disk before its first journal is there', async t => {
  const dir = dataDir(t)
  const order: string[] = []
  const table = () => ({ get: () => undefined, put: () => order.push('put') })
  const env = {
    dir,
    write: async (work: () => void) => work(),
    durable: async () => void order.push('durable', ...filesOf(dir)),
    break: (cause: unknown) => t.fail(String(cause)),
  }
  const journal = new Journal(env as unknown as EmbeddedEnv, table as unknown as OpenTable)
  journal.read()
  await journal.begin()
  await journal.begin()
  t.same(order, ['put', 'durable'])
  journal.append(record(journal.next, added(message(ANN, BOB), 1)).bytes)
  t.same(filesOf(dir), ['journal-1'])
  t.equal(journal.next, 2)
  await journal.close(true)
})

type ApplyArguments = ConstructorParameters<typeof Apply>[0]

function applying(t: Test) {
  const pending = new Pending()
  const state = { fails: 0, commits: 0, applied: 0 }
  const none = () => undefined
  const made = {
    env: {
      writeBehind: async (work: () => void) => {
        state.commits++
        if (state.fails-- > 0) throw new GatewayError('STORE_FULL')
        work()
      },
    },
    rows: { table: { put: none }, putHolder: none, putText: none },
    conversations: { put: none },
    dedup: { put: none, committed: none },
    pending,
    journal: {
      next: 1,
      putApplied: none,
      applied: (number: number) => {
        state.applied = number
      },
    },
  }
  const apply = new Apply(made as unknown as ApplyArguments)
  const append = (count: number) => {
    const number = made.journal.next++
    pending.add(record(number, ...Array.from({ length: count }, (_, i) => added(message(ANN, BOB), i + 1))))
  }
  t.teardown(() => apply.stop())
  return { apply, append, pending, state }
}

t.test('apply: whole records, about a thousand rows a commit, the oldest first', async t => {
  const { apply, append, pending, state } = applying(t)
  for (let i = 0; i < 5; i++) append(600)
  await apply.all()
  t.match(state, { commits: 3, applied: 5 })
  t.equal(pending.rows, 0)
  await apply.all()
  t.equal(state.commits, 3, 'nothing is left to write')
})

t.test('apply: what fails stays, and is tried again', async t => {
  const { apply, append, pending, state } = applying(t)
  append(10)
  state.fails = 1
  await t.rejects(apply.all(), ofKind('STORE_FULL'))
  t.match([apply.isFailing, pending.rows], [true, 10])
  await apply.all()
  t.match([apply.isFailing, pending.rows], [false, 0])
})

t.test('apply: enough rows begin a commit by themselves', async t => {
  const { apply, append, pending } = applying(t)
  append(1000)
  apply.added()
  while (pending.rows > 0) await nextTurn()
  t.equal(pending.first, undefined)
})

t.test('append: with a commit that fails, or too much that waits for one, it waits', async t => {
  const calls: string[] = []
  const state = { isFailing: false, bytes: 0 }
  const made = {
    env: {
      checkLately: () => undefined,
      read: (work: () => unknown) => work(),
      acknowledged: undefined as Promise<unknown> | undefined,
    },
    planner: { plan: () => ({ results: [], added: [] }) },
    ends: { makeRoom: () => undefined, forgetAll: () => calls.push('forget') },
    pending: {
      get bytes() {
        return state.bytes
      },
    },
    journal: { isBegun: true, begin: async () => undefined, synced: async () => void calls.push('synced') },
    apply: {
      get isFailing() {
        return state.isFailing
      },
      all: async () => {
        calls.push('all')
        if (state.isFailing) throw new GatewayError('STORE_FULL')
      },
    },
  }
  type Arguments = ConstructorParameters<typeof EmbeddedAppend>
  const appender = (durability: 'commit' | 'flush') =>
    new EmbeddedAppend({ ...made, env: { ...made.env, dir: '', durability } } as unknown as Arguments[0])
  const append = (durability: 'commit' | 'flush') => appender(durability).run([])
  await append('commit')
  t.same(calls, [])
  t.same(appender('commit').runNow([]), [], 'nothing to wait for')
  t.equal(appender('flush').runNow([]), undefined)
  const busy = appender('commit')
  const first = busy.run([])
  t.equal(busy.runNow([]), undefined, 'another batch is under way')
  await first
  for (const [part, value] of [
    ['journal', { isBegun: false }],
    ['env', { acknowledged: Promise.resolve() }],
  ] as const) {
    const before = { ...made[part] }
    Object.assign(made[part], value)
    t.equal(appender('commit').runNow([]), undefined, part)
    Object.assign(made[part], before)
  }
  await append('flush')
  t.same(calls.splice(0), ['synced'])
  state.bytes = 64 << 20
  t.equal(appender('commit').runNow([]), undefined)
  await append('commit')
  t.same(calls.splice(0), ['all'])
  state.isFailing = true
  await t.rejects(append('commit'), ofKind('STORE_FULL'))
  made.planner.plan = () => {
    throw new Error('a key is too long')
  }
  state.isFailing = false
  state.bytes = 0
  await t.rejects(append('commit'), ofKind('STORE_UNAVAILABLE'))
  t.same(calls.splice(0), ['all', 'forget'])
})
