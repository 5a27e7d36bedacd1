/** What `mumi verify` finds: nothing in a whole store, and each fault that is planted in what it reads. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { pairConversation } from '../../src/core/model.js'
import type { CopyableStore, Entries, Section } from '../../src/store/contents.js'
import { Conversations } from '../../src/store/embedded/conversations.js'
import { EmbeddedEnv } from '../../src/store/embedded/env.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import type { OpenTable } from '../../src/store/embedded/table.js'
import { Verification } from '../../src/store/verify.js'
import { dataDir } from '../helpers/gateway.js'
import { ANN, BOB, broadcast, EVE, message, move, user } from '../helpers/store-samples.js'

async function filled(t: Test): Promise<EmbeddedStore> {
  const store = new EmbeddedStore({
    dir: join(dataDir(t), 'store'),
    durability: 'commit',
    dedupWindowMs: 60_000,
  })
  await store.open()
  t.teardown(() => store.close())
  for (const id of [ANN, BOB]) await store.users.createUser(user(id, { username: `u${id}` }))
  for (let i = 0; i < 20; i++) await store.inbox.append([message(BOB, ANN), message(ANN, BOB)])
  await store.cursors.moveCursors([move(ANN, 'phone', { confirmed: 12, sent: 15 })])
  await store.inbox.trimInbox(ANN, 5, 100)
  return store
}

/** The store as it would be read if `change` were in its file. */
function planted<S extends Section>(
  store: EmbeddedStore,
  section: S,
  change: (entries: Entries[S][]) => Entries[S][],
): CopyableStore {
  const read = async (name: Section, from: string | undefined) => {
    const page = await store.contents().read(name, from)
    return name === section ? { ...page, entries: change([...page.entries] as Entries[S][]) } : page
  }
  const { users, inbox, cursors, kv } = store
  const strays = () => store.strays()
  return { users, inbox, cursors, kv, strays, contents: () => ({ read }) } as unknown as CopyableStore
}

t.test('a whole store has no fault, trimmed or not, also while messages are in its journal', async t => {
  t.same(await new Verification(await filled(t)).run(), {
    ...{ accounts: 2, inboxes: 2, rows: 35, conversations: 1, devices: 1, faults: [] },
  })
})

t.test('each planted fault is found', async t => {
  const store = await filled(t)
  const faults = async <S extends Section>(section: S, change: (entries: Entries[S][]) => Entries[S][]) =>
    (await new Verification(planted(store, section, change)).run()).faults
  const rows = (change: (entries: Entries['rows'][]) => Entries['rows'][]) => faults('rows', change)
  t.match(await rows(all => all.toSpliced(3, 1)), [/a hole between 8 and 10/, /has 34|of 34/])
  t.match(await rows(all => all.slice(1)), [/begins with 7, and should with 6/, /conversation/])
  t.match(await rows(all => all.slice(0, -1)), [/ends with 19, and should with 20/, /conversation/])
  t.match(await rows(all => all.map((row, i) => (i === 4 ? { ...row, text: `${row.text} ` } : row))), [
    /size of 10/,
  ])
  t.same(
    await rows(all => all.map(row => ({ ...row, conversation: undefined }))),
    [],
    'no conversation to miss',
  )
  t.match(await faults('accounts', all => all.slice(1)), [/there is no such account/])
  const other = (change: Partial<NonNullable<Entries['accounts']['user']>>) =>
    faults('accounts', ([one, ...rest]) =>
      one?.user === undefined ? [] : [{ ...one, user: { ...one.user, ...change } }, ...rest],
    )
  t.match(await other({ emailKey: 'x@y' }), [/by its email/])
  t.match(await other({ username: 'x' }), [/by its user name/])
  t.match(await other({ firstName: 'x' }), [/by its names/])
  t.match(await other({ passwordHash: '' }), [/no password hash/])
  t.match(await other({ id: EVE }), [/is stored as/])
  const device = (change: Partial<Entries['devices']>) =>
    faults('devices', all => all.map(one => ({ ...one, ...change })))
  t.match(await device({ sent: 21 }), [/beyond its end, 20/])
  t.match(await device({ confirmed: 13 }), [/confirmed more than its inbox knows/])
  t.match(await device({ released: [21] }), [/released more than there is/])
  t.match(await faults('furthest', all => all.map(one => ({ ...one, seq: 21 }))), [
    /up to 21, beyond its end/,
  ])
})

/** Writes past all rules, as a fault of this or another version would. */
async function spoil(dir: string, work: (table: OpenTable) => void): Promise<void> {
  const env = new EmbeddedEnv({ dir, durability: 'commit', check: { pages: 'unclean', timeoutMs: 1000 } })
  const table = await env.open(table => table)
  await env.write(() => work(table))
  await env.close()
}

t.test('entries whose account or message is gone are found in each index', async t => {
  const dir = join(dataDir(t), 'store')
  const store = () => new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 60_000 })
  const first = store()
  await first.open()
  for (const id of [ANN, BOB]) await first.users.createUser(user(id, { username: `u${id}` }))
  await first.inbox.append([message(BOB, ANN), broadcast(BOB, ANN)])
  await first.close()
  const gone = '11111111-1111-7111-8111-111111111111'
  const plants: readonly [work: (table: OpenTable) => void, fault: RegExp][] = [
    [table => table('emails').put(['x@y'], 99), /^emails: .* 99, which there is not/],
    [table => table('usernames').put(['x'], 1), /^usernames: .* 1, which has another/],
    [table => table('names').put(['x'.repeat(22), 1], 0), /^names: an entry for account number 1/],
    [table => table('hashes').put([Number(EVE)], 'x'), /^hashes: one of 999999999/],
    [
      table =>
        new Conversations(table).put(
          pairConversation(ANN, EVE),
          gone,
          { owner: 1, seq: 1 },
          Buffer.alloc(10),
          0,
        ),
      /^conversation 100000001:999999999: an entry for 1 of inbox 1/,
    ],
    [table => table('texts', 'string').put([gone], '{}'), /no row refers to it/],
    [table => table('text-holders').put([gone, Number(ANN), 1], 0), /held by 1 of inbox 100000001/],
    [table => table('accounts').put([99], user(EVE)), /^account 999999999: not found by its id/],
    [table => table('trimmed').put([Number(EVE)], 1), /^trimmed: an entry of 999999999/],
    [table => table('furthest').put([Number(EVE)], 0), /^furthest: an entry of 999999999/],
    [
      table => table('devices').put([Number(EVE), ''], { confirmed: 0, sent: 0, released: [], seenAt: 0 }),
      /^devices: an entry of 999999999/,
    ],
  ]
  for (const [work, fault] of plants) {
    await spoil(dir, table => void work(table))
    const spoilt = store()
    await spoilt.open()
    const { faults } = await new Verification(spoilt).run()
    t.ok(
      faults.some(line => fault.test(line)),
      `${fault}`,
    )
    await spoilt.close()
  }
  const last = store()
  await last.open()
  await last.kv.kvWrite([{ put: 'sessions', key: [EVE, 'x'], value: Buffer.from('{}') }])
  const { faults } = await new Verification(last).run()
  t.ok(faults.includes(`sessions: an entry of ${EVE}, who has no account`))
  await last.close()
})
