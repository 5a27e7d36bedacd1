/** What `mumi verify` finds: nothing in a whole store, and each fault that is planted in what it reads. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { CopyableStore, Entries, Section } from '../../src/store/contents.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { Verification } from '../../src/store/verify.js'
import { dataDir } from '../helpers/gateway.js'
import { ANN, BOB, EVE, message, move, user } from '../helpers/store-samples.js'

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
  const { users, inbox, cursors } = store
  return { users, inbox, cursors, contents: () => ({ read }) } as unknown as CopyableStore
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
