/** The parts of the embedded store, each by itself over a real LMDB in a temporary folder. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import t, { type Test } from 'tap'
import { GatewayError } from '../../src/core/errors.js'
import { pairConversation } from '../../src/core/model.js'
import { SECTIONS } from '../../src/store/contents.js'
import { copyStore } from '../../src/store/copy.js'
import { DeletedUsers, Remains } from '../../src/store/deleted.js'
import { type CommitOptions, Commits } from '../../src/store/embedded/commits.js'
import { EmbeddedContents } from '../../src/store/embedded/contents.js'
import { EmbeddedCursors } from '../../src/store/embedded/cursors.js'
import type { DiskSync } from '../../src/store/embedded/disk-sync.js'
import { EmbeddedEnv } from '../../src/store/embedded/env.js'
import { CodedError, isCommitFailure, reasonText, toStoreError } from '../../src/store/embedded/errors.js'
import { checkFile, noteClosed } from '../../src/store/embedded/file.js'
import { EmbeddedInbox } from '../../src/store/embedded/inbox.js'
import { inboxParts } from '../../src/store/embedded/inbox-parts.js'
import { EmbeddedKv } from '../../src/store/embedded/kv.js'
import { EmbeddedShared } from '../../src/store/embedded/shared.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { type OpenTable, tableOpener } from '../../src/store/embedded/table.js'
import { EmbeddedUsers, userNumber } from '../../src/store/embedded/users.js'
import { KV_COLLECTIONS, type KvKey, SHARED_COLLECTIONS } from '../../src/store/store.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB, broadcast, EVE, message, messages, move, user } from '../helpers/store-samples.js'

const CHECK = { pages: 'always', timeoutMs: 1000 } as const

/** Parts of a store in a folder of their own. */
async function opened<T>(t: Test, build: (table: OpenTable, env: EmbeddedEnv, deleted: DeletedUsers) => T) {
  const dir = join(dataDir(t), 'store')
  const env = new EmbeddedEnv({ dir, durability: 'commit', check: CHECK })
  const deleted = new DeletedUsers()
  const part = await env.open(table => build(table, env, deleted))
  t.teardown(async () => {
    if (part instanceof EmbeddedInbox) await part.close()
    await env.close()
  })
  return { env, deleted, part }
}

// ── errors, file ──────────────────────────────────────────────────────────────────────────────────────────

t.test('errors: a full disk, in whichever words, is STORE_FULL; all else STORE_UNAVAILABLE', async t => {
  const dir = dataDir(t)
  const { ENOSPC, EDQUOT, EFBIG, EIO, EACCES } = constants.errno
  for (const code of [ENOSPC, EDQUOT, EFBIG, -30792])
    t.match(toStoreError(new CodedError(code), dir), { kind: 'STORE_FULL' }, String(code))
  for (const code of [EIO, EACCES, -30788])
    t.match(toStoreError(new CodedError(code), dir), { kind: 'STORE_UNAVAILABLE' }, String(code))
  t.match(toStoreError(new CodedError(EIO), join(dir, 'none')), { kind: 'STORE_UNAVAILABLE' })
  const ofNode = (code: string, errno: number) => Object.assign(new Error(code), { code, errno })
  t.match(toStoreError(ofNode('ENOSPC', -ENOSPC), dir), { kind: 'STORE_FULL' })
  t.match(toStoreError(ofNode('EACCES', -EACCES), dir), { kind: 'STORE_UNAVAILABLE' })
  const own = new GatewayError('ERROR_FIND_USER')
  t.equal(toStoreError(own, dir), own)
  t.equal(reasonText(new CodedError(ENOSPC)), 'ENOSPC: no space left on device')
  t.equal(reasonText(new CodedError(-30788)), 'LMDB error -30788')
  t.equal(reasonText('text'), 'text')
  t.notOk(isCommitFailure(Object.assign(new Error(), { commitError: 'text' })))
})

t.test('file: what LMDB could not map is refused; a file that was closed is not read again', async t => {
  const dir = join(dataDir(t), 'store')
  const unclean = { pages: 'unclean', timeoutMs: 10_000 } as const
  const data = join(dir, 'data.mdb')
  mkdirSync(data, { recursive: true })
  t.throws(() => checkFile(dir, CHECK), { message: /is not a file/ })
  const good = join(dataDir(t), 'store')
  t.doesNotThrow(() => checkFile(good, CHECK), 'none is there yet')
  const env = new EmbeddedEnv({ dir: good, durability: 'commit', check: CHECK })
  const table = await env.open(open => open<string>('x', 'string'))
  await env.write(() => {
    for (let i = 0; i < 500; i++) table.put([i], 'x'.repeat(100))
  })
  await env.close()
  t.doesNotThrow(() => checkFile(good, CHECK))
  const file = join(good, 'data.mdb')
  const bytes = readFileSync(file)
  writeFileSync(file, bytes.fill(0xff, 2 * 4096))
  t.throws(() => checkFile(good, unclean), { message: /is damaged/ }, 'it is another one since')
  noteClosed(good)
  t.doesNotThrow(() => checkFile(good, unclean), 'it is as it was closed')
  const note = join(good, 'closed')
  const [size, time, transaction] = readFileSync(note, 'utf8').split(' ')
  writeFileSync(note, `${size} ${time} ${Number(transaction) - 1}`)
  t.throws(() => checkFile(good, unclean), { message: /is damaged/ }, 'size and time alone do not tell')
  t.throws(() => checkFile(good, CHECK), { message: /is damaged/ })
  writeFileSync(file, '')
  t.throws(() => checkFile(good, CHECK), ofKind('STORE_UNAVAILABLE', { message: /it is empty/ }))
})

// ── table, commits ────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'table: a key that is too long is refused before lmdb gets it; a range gives its place back',
  async t => {
    const { env, part: table } = await opened(t, table => table<string>('x', 'string'))
    const long = ['x'.repeat(2000)]
    for (const call of [
      () => table.get(long),
      () => table.put(long, ''),
      () => table.remove(long),
      () => [...table.getRange({ start: long, end: ['y'] })],
      () => [...table.getRange({ start: ['a'], end: long })],
    ])
      t.throws(call, ofKind('TOO_LARGE'))
    await env.write(() => {
      for (let i = 0; i < 3; i++) table.put([i], String(i))
    })
    // LMDB has 126 places of readers.
    for (let i = 0; i < 300; i++) for (const _ of table.getRange({ start: [0], end: [9] })) break
    t.same(
      [...table.getRange({ start: [0], end: [2] })],
      [
        { key: [0], value: '0' },
        { key: [1], value: '1' },
      ],
    )
  },
)

interface CommitsOptions extends Partial<Pick<CommitOptions, 'durability' | 'disk'>> {
  /** Instead of lmdb's own. */
  readonly transaction?: (work: () => void) => Promise<void>
}

const NO_DISK = { committed: () => undefined, synced: async () => undefined } as unknown as DiskSync
/** More puts than are made on this thread. */
const MANY = 1000

function commits(t: Test, { durability = 'commit', disk = NO_DISK, transaction }: CommitsOptions = {}) {
  const dir = dataDir(t)
  const real = open({ path: dir, noSubdir: false, maxDbs: 4, eventTurnBatching: false, noSync: true })
  const root = Object.create(real, transaction ? { transaction: { value: transaction } } : {})
  const marks = tableOpener(real)<string>('marks', 'string')
  const one = new Commits({ root, marks, dir, durability, disk })
  t.teardown(async () => {
    await one.idle()
    await real.transaction(() => undefined)
    await real.close()
  })
  const put = (key: number, puts = MANY) =>
    one.run({ run: () => void marks.put([100 + key], 'x'), reads: true, puts })
  return { real, one, put, has: (key: number) => marks.get([100 + key]) === 'x' }
}

t.test('commits: a small one is made at once, unless a large one is under way', async t => {
  const { one, put, has } = commits(t)
  const small = put(1, 1)
  t.ok(has(1), 'before anything is awaited')
  await small
  const large = put(2)
  const behind = put(3, 1)
  const after = one.run({ run: () => has(2) && has(3), reads: true, puts: 1 })
  t.notOk(has(3))
  t.equal(await after, true, 'it sees what was written before it')
  await Promise.all([large, behind])
  const thrown = one.run({ run: () => assert.fail('thrown'), reads: true, puts: 1 })
  await t.rejects(thrown, ofKind('STORE_UNAVAILABLE', { message: /thrown/ }))
  await put(4, 1)
  t.ok(has(4), 'and the lock is free again')
})

t.test(
  'commits: of one turn of the event loop one is made on this thread, so that a row of them stops nobody',
  async t => {
    const { put, has } = commits(t)
    const [first, second] = [put(1, 1), put(2, 1)]
    t.ok(has(1))
    t.notOk(has(2))
    await Promise.all([first, second])
    let turns = 0
    const count = () => {
      turns++
      next = setImmediate(count)
    }
    let next = setImmediate(count)
    for (let i = 0; i < 20; i++) await put(i, 1)
    clearImmediate(next)
    t.ok(turns >= 10, `${turns} turns`)
  },
)

t.test('commits: acknowledged in the order of the calls, whenever each is done', async t => {
  const order: number[] = []
  let release = () => {}
  const held = new Promise<void>(resolve => (release = resolve))
  let calls = 0
  const transaction = async (work: () => void) => {
    if (++calls === 1) await held
    await real.transaction(work)
  }
  const { real, one, put } = commits(t, { transaction })
  const all = [put(0), put(1), put(2, 1)].map((commit, i) => commit.then(() => order.push(i)))
  await real.transaction(() => undefined)
  t.same(order, [])
  release()
  await Promise.all(all)
  t.same(order, [0, 1, 2])
  await t.resolves(one.idle())
})

t.test('commits: what lmdb rejects and can be read is there; what cannot be read has failed', async t => {
  const failure = () =>
    Object.assign(new Error('Commit failed'), { commitError: Promise.reject(new Error('x')) })
  const own = new GatewayError('ERROR_EXIST_USER')
  const fates: ((work: () => void) => Promise<void>)[] = [
    async work => {
      await real.transaction(work)
      throw failure()
    },
    () => Promise.reject(failure()),
    () => Promise.reject(own),
    work => real.transaction(work),
  ]
  const transaction = (work: () => void) => fates.shift()?.(work) ?? assert.fail()
  const { real, one, put } = commits(t, { transaction })
  await t.resolves(put(1))
  await t.rejects(put(2), ofKind('STORE_UNAVAILABLE'))
  await t.rejects(put(3), ofKind('ERROR_EXIST_USER'), 'a refusal of ours is itself')
  t.notOk(one.broken)
  await t.resolves(put(4), 'the next one is not touched')
})

t.test('commits: with flush the answer waits for the disk, and fails with it', async t => {
  const order: string[] = []
  const synced = async () => void order.push('synced')
  const disk = { committed: () => order.push('committed'), synced } as unknown as DiskSync
  const { put } = commits(t, { durability: 'flush', disk })
  await put(1, 1)
  await put(2)
  t.same(order, ['committed', 'synced', 'committed', 'synced'])
  const gone = { ...disk, synced: () => Promise.reject(new Error('EIO')) } as unknown as DiskSync
  const { put: lost } = commits(t, { durability: 'flush', disk: gone })
  await t.rejects(lost(1, 1), ofKind('STORE_UNAVAILABLE', { message: /EIO/ }))
})

// ── append, inbox ─────────────────────────────────────────────────────────────────────────────────────────

const inboxes = (t: Test) =>
  opened(t, (table, env, deleted) => new EmbeddedInbox(inboxParts(env, table, 60_000, deleted)))

t.test('append: each inbox has its own seq; a repeat, and what must be one, get none', async t => {
  const { part: inbox, deleted } = await inboxes(t)
  const keyed = message(ANN, BOB, { dedupKey: 'k' })
  const answers = await inbox.append([
    keyed,
    message(ANN, EVE),
    message(ANN, BOB, { text: keyed.text, dedupKey: 'k' }),
    message(ANN, BOB, { dedupKey: 'k' }),
    message(ANN, BOB, { dedupKey: 'new', mustRepeat: true }),
  ])
  t.match(answers, [
    { seq: 1, id: keyed.id, repeat: false },
    { seq: 1, repeat: false },
    { seq: 1, id: keyed.id, repeat: true },
    { seq: 2, repeat: false },
    { seq: 0, repeat: false, isFull: true },
  ])
  t.match(await inbox.append([message(ANN, BOB, { text: keyed.text, dedupKey: 'k' })]), [{ seq: 3 }])
  deleted.add(BOB)
  t.match(await inbox.append([message(ANN, BOB)]), [{ seq: 0, isGone: true }])
})

t.test('append: a batch that fails stores nothing, and uses no seq', async t => {
  const { part: inbox } = await inboxes(t)
  await inbox.append([message(ANN, BOB)])
  const bad = inbox.append([message(ANN, BOB), message(ANN, 'nobody')])
  const good = inbox.append([message(ANN, BOB)])
  await t.rejects(bad, ofKind('ERROR_FIND_USER'))
  t.match(await good, [{ seq: 2 }])
  await t.rejects(inbox.append([message(ANN, BOB, { dedupKey: 'x'.repeat(2000) })]), ofKind('TOO_LARGE'))
  t.match(await inbox.append([message(ANN, BOB)]), [{ seq: 3 }])
})

t.test(
  'inbox: a page ends at its characters; a trim keeps the end, and takes conversations with it',
  async t => {
    const { part: inbox } = await inboxes(t)
    const sent = messages(3)
    const [chars = 0] = sent.map(({ text }) => text.length)
    await inbox.append(sent)
    const seqs = async (...read: Parameters<EmbeddedInbox['readInbox']>) =>
      (await inbox.readInbox(...read)).map(({ seq }) => seq)
    t.same(await seqs(BOB, 0, 10), [1, 2, 3])
    t.same(await seqs(BOB, 1, 1), [2])
    t.same(await seqs(BOB, 0, 10, 1), [1], 'one at least')
    t.same(await seqs(BOB, 0, 10, chars + 1), [1, 2])
    t.equal(
      await inbox.inboxBytes(BOB),
      sent.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0),
    )
    t.equal(await inbox.trimInbox(BOB, 2, 10), 2)
    t.same([await inbox.firstSeq(BOB), await inbox.lastSeq(BOB)], [3, 3])
    const read = await inbox.readConversation(pairConversation(ANN, BOB), 10)
    t.same(
      read.map(({ row }) => row.seq),
      [3],
    )
    await inbox.trimInbox(BOB, 3, 10)
    t.same([await inbox.firstSeq(BOB), await inbox.lastSeq(BOB), await inbox.inboxBytes(BOB)], [4, 3, 0])
  },
)

t.test('inbox: the text of a broadcast goes with its last row; a purge leaves nothing', async t => {
  const { part: inbox } = await inboxes(t)
  const one = broadcast(ANN, BOB)
  await inbox.append([one, { ...one, inbox: EVE }])
  await inbox.trimInbox(BOB, 1, 1)
  t.match(await inbox.readInbox(EVE, 0, 1), [{ kind: 'broadcast', text: one.text }])
  await inbox.purge(EVE)
  t.same(await inbox.readInbox(EVE, 0, 1), [])
  t.equal(await inbox.lastSeq(EVE), 0)
  t.equal(await inbox.lastSeq(BOB), 1)
})

// ── shared records ────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'shared records: what an owner has is told by key, also after another has it, and goes as a whole',
  async t => {
    const { part: shared, deleted } = await opened(
      t,
      (table, env, deleted) => new EmbeddedShared(env, table, deleted),
    )
    const [of, value] = [(userId: string) => ({ userId, value }), Buffer.from('v')]
    t.ok(await shared.sharedSwap('names', 'b', undefined, of(BOB)))
    t.ok(await shared.sharedSwap('names', 'a', undefined, of(BOB)))
    t.ok(await shared.sharedSwap('images', 'c', undefined, of(BOB)))
    t.ok(await shared.sharedSwap('names', 'b', of(BOB), of(ANN)))
    t.same([await shared.sharedOf('names', BOB), await shared.sharedOf('names', ANN)], [['a'], ['b']])
    await shared.purge(BOB)
    t.same([await shared.sharedOf('names', BOB), await shared.sharedOf('images', BOB)], [[], []])
    t.match(await shared.sharedGet('names', 'b'), of(ANN))
    deleted.add(ANN)
    t.notOk(await shared.sharedSwap('names', 'd', undefined, of(ANN)))
    await t.rejects(shared.sharedSwap('names', 'x'.repeat(4000), undefined, of(BOB)), {
      name: 'GatewayError',
    })
  },
)

// ── cursors, kv, users ────────────────────────────────────────────────────────────────────────────────────

t.test(
  'cursors: `confirmed` never moves back; a device that is not seen is forgotten, the default one not',
  async t => {
    const { part: cursors, deleted } = await opened(
      t,
      (table, env, deleted) => new EmbeddedCursors(env, table, deleted),
    )
    await cursors.moveCursors([
      move(BOB, '', { confirmed: 1, seenAt: 10 }),
      move(BOB, 'a', { confirmed: 5, sent: 7, released: [6], seenAt: 20 }),
      move(BOB, 'b', { confirmed: 3, seenAt: 10 }),
    ])
    await cursors.moveCursors([move(BOB, 'a', { confirmed: 2, sent: 9, seenAt: 20 })])
    t.same(await cursors.cursor(BOB, 'a'), { confirmed: 5, sent: 9, released: [] })
    t.same(
      [await cursors.furthest(BOB), await cursors.slowest(BOB), await cursors.slowest(BOB, 15)],
      [5, 1, 5],
    )
    t.equal(await cursors.forgetDevices(15), 1)
    t.equal(await cursors.cursor(BOB, 'b'), undefined)
    t.match(await cursors.cursor(BOB, ''), { confirmed: 1 })
    deleted.add(BOB)
    await cursors.moveCursors([move(BOB, 'a', { confirmed: 99 })])
    t.equal(await cursors.furthest(BOB), 5, 'of a deleted account nothing is written')
    await cursors.purge(BOB)
    t.same([await cursors.cursor(BOB, 'a'), await cursors.furthest(BOB)], [undefined, 0])
  },
)

t.test(
  'kv: a range is what is under a prefix, or between two texts, in order and beyond one page',
  async t => {
    const { part: kv, deleted } = await opened(
      t,
      (table, env, deleted) => new EmbeddedKv(env, table, deleted),
    )
    const value = Buffer.from('v')
    const numbers = Array.from({ length: 300 }, (_, i): KvKey => ['n', i])
    const keys: KvKey[] = [['a'], ['a', 'b'], ['a', 'c'], ['ab'], ...numbers]
    await kv.kvWrite(keys.map(key => ({ put: 'meta', key, value })))
    const under = async (...range: [prefix: KvKey, between?: readonly [string, string]]) => {
      const found: KvKey[] = []
      for await (const { key } of kv.kvRange('meta', ...range)) found.push(key)
      return found
    }
    t.same(await under(['a']), [['a'], ['a', 'b'], ['a', 'c']])
    t.same(await under(['a'], ['b', 'c']), [['a', 'b']])
    t.equal(String(await under(['n'])), String(numbers))
    t.equal(String(await under([])), String(keys))
    await kv.kvWrite([{ remove: 'meta', key: ['a'] }])
    t.equal(await kv.kvGet('meta', ['a']), undefined)
    const bad = [
      { put: 'meta', key: ['good'], value },
      { put: 'meta', key: ['x'.repeat(2000)], value },
    ] as const
    await t.rejects(kv.kvWrite(bad), ofKind('TOO_LARGE'))
    t.equal(await kv.kvGet('meta', ['good']), undefined, 'all or nothing')
    deleted.add(ANN)
    await kv.kvWrite([{ put: 'wills', key: [`${ANN}:x`], value }])
    t.equal(await kv.kvGet('wills', [`${ANN}:x`]), undefined)
  },
)

t.test('users: what is taken, and by whom; an id is given once', async t => {
  const { part: users } = await opened(t, (table, env, deleted) => {
    const kv = new EmbeddedKv(env, table, deleted)
    return new EmbeddedUsers(env, table, deleted, new Remains(kv, []))
  })
  const taken = (field: string) => ofKind('ERROR_EXIST_USER', { info: { field } })
  await users.createUser(user(BOB, { username: 'bob', firstName: 'B' }))
  await users.createUser(user(ANN, { firstName: 'A' }))
  await t.rejects(users.createUser(user(EVE, { emailKey: user(BOB).emailKey })), taken('email'))
  await t.rejects(users.createUser(user(EVE, { username: 'bob' })), taken('username'))
  await t.rejects(users.createUser(user(BOB, { emailKey: 'x' })), taken('id'))
  await t.rejects(users.createUser(user('x')), ofKind('BAD_FIELD'))
  const ids = async (...query: Parameters<EmbeddedUsers['findUsers']>) =>
    (await users.findUsers(...query)).map(({ id }) => id)
  t.same(await ids({}, 9), [BOB, ANN], 'oldest first')
  t.same(await ids({}, 9, BOB), [ANN])
  t.same(await ids({ username: 'bob', firstName: 'A' }, 9), [], 'all must match')
  t.same(await ids({ firstName: 'A' }, 9), [ANN])
  await t.rejects(users.findUsers({}, 9, EVE), ofKind('BAD_FIELD'))
  t.equal(await users.checkPassword(BOB, async hash => hash === `hash of ${BOB}`), true)
  t.equal(await users.checkPassword(EVE, async () => true), false)
  await users.deleteUser(BOB)
  t.same(await ids({}, 9), [ANN])
  await t.rejects(users.createUser(user(BOB)), taken('id'))
  await users.createUser(user(EVE, { username: 'bob' }))
  t.same([userNumber(BOB), userNumber('1'), userNumber('x')], [Number(BOB), 0, 0])
})

// ── contents, copy ────────────────────────────────────────────────────────────────────────────────────────

async function filled(t: Test): Promise<EmbeddedStore> {
  const dir = join(dataDir(t), 'store')
  const store = new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 60_000 })
  await store.open()
  t.teardown(() => store.close())
  return store
}

async function withData(t: Test) {
  const store = await filled(t)
  for (const id of [ANN, BOB, EVE]) await store.users.createUser(user(id))
  await store.users.deleteUser(EVE)
  await store.inbox.append([...messages(3), broadcast(ANN, BOB)])
  await store.inbox.trimInbox(BOB, 1, 1)
  await store.cursors.moveCursors([move(BOB, 'phone', { confirmed: 2 })])
  await store.kv.kvWrite([{ put: 'retained', key: ['a'], value: Buffer.from('r') }])
  const record = { userId: BOB, value: Buffer.from('v') }
  for (const name of SHARED_COLLECTIONS) await store.shared.sharedSwap(name, 'k', undefined, record)
  return store
}

t.test('contents: every section is read in pages, and a copy of it is the same', async t => {
  const store = await withData(t)
  const { part: copy } = await opened(
    t,
    (table, env) => new EmbeddedContents(env, table, { stored: async () => undefined }),
  )
  for (const section of SECTIONS) {
    const { entries, next } = await store.contents().read(section, undefined)
    t.equal(next, undefined)
    t.ok(entries.length > 0, section)
    await copy.write(section, entries as never)
    await copy.write(section, entries as never)
    t.same(await copy.read(section, undefined), { entries, next: undefined }, section)
  }
  const { entries } = await store.contents().read('accounts', undefined)
  t.match(
    entries.find(({ id }) => id === EVE),
    { user: undefined },
    'the id stays taken',
  )
})

t.test('copy: into an empty store alone; what differs in the end is said; another try goes on', async t => {
  const source = await withData(t)
  const target = await filled(t)
  const said: string[] = []
  const say = (line: string) => void said.push(line)
  await copyStore(source, target, say)
  t.match(said.at(-1), /^state of the broker: \d+, the same in both/)
  t.same(await target.inbox.readInbox(BOB, 0, 9), await source.inbox.readInbox(BOB, 0, 9))
  t.equal(await target.kv.kvGet('meta', ['copy']), undefined, 'its note is gone')
  await t.rejects(copyStore(source, target, say), { message: 'the target is not empty' })
  const note = Buffer.from(JSON.stringify({ section: 1 }))
  await target.kv.kvWrite([{ put: 'meta', key: ['copy'], value: note }])
  await target.cursors.moveCursors([move(ANN, 'other')])
  said.length = 0
  await t.rejects(copyStore(source, target, say), { message: /the copy differs in devices/ })
  t.equal(said[0], `going on with ${SECTIONS[1]}`)
  t.notOk(said.includes('accounts copied'))
})

t.test('kv: the same key in two collections is two entries', async t => {
  const { part: kv } = await opened(t, (table, env, deleted) => new EmbeddedKv(env, table, deleted))
  await kv.kvWrite(KV_COLLECTIONS.map(put => ({ put, key: ['k'], value: Buffer.from(put) })))
  for (const collection of KV_COLLECTIONS)
    t.equal(Buffer.from((await kv.kvGet(collection, ['k'])) ?? []).toString(), collection)
})
