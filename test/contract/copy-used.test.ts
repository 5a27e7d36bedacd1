/** The copy of a store that is used, for a backup: what happens while it is read must not make it contradict itself. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Contents, CopyableStore, Entries, Page, Section } from '../../src/store/contents.js'
import { copyUsedStore } from '../../src/store/copy-used.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { Verification } from '../../src/store/verify.js'
import { dataDir } from '../helpers/gateway.js'
import { mongoStore, skipWithoutMongo, testDatabase } from '../helpers/mongodb.js'
import { ANN, BOB, broadcast, EVE, message, messages, move, user } from '../helpers/store-samples.js'

const LATE = '500000000'
const last = 999_999_998
const many = Array.from({ length: 600 }, (_, i) => String(300_000_000 + i))

async function open<S extends CopyableStore>(t: Test, store: S): Promise<S> {
  await store.open()
  t.teardown(() => store.close())
  return store
}

const embedded = (t: Test) =>
  open(t, new EmbeddedStore({ dir: join(dataDir(t), 'store'), durability: 'commit', dedupWindowMs: 1000 }))
const mongodb = (t: Test) => open(t, mongoStore(testDatabase(t)))

/** Called with a page before it is copied, and how many of its section were read before it. @returns the page, or another */
type Between = (section: Section, nth: number, page: Page<Section>) => Promise<Page<Section> | undefined>

/** The store, of which something is changed between what is read. */
function changing(store: CopyableStore, between: Between): CopyableStore {
  const read: Partial<Record<Section, number>> = {}
  const contents: Contents = {
    async read<S extends Section>(section: S, from: string | undefined): Promise<Page<S>> {
      const page = await store.contents().read(section, from)
      const nth = read[section] ?? 0
      read[section] = nth + 1
      return ((await between(section, nth, page)) ?? page) as Page<S>
    },
    write: (...args) => store.contents().write(...args),
  }
  return new Proxy(store, {
    get: (target, name) => {
      if (name === 'contents') return () => contents
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

async function allOf<S extends Section>(store: CopyableStore, section: S): Promise<Entries[S][]> {
  const all: Entries[S][] = []
  let from: string | undefined
  do {
    const page: Page<S> = await store.contents().read(section, from)
    all.push(...page.entries)
    from = page.next
  } while (from !== undefined)
  return all
}

const rowsOf = async (store: CopyableStore, id: string) =>
  (await store.inbox.readInbox(id, 0, 10_000)).map(({ seq }) => seq)
const faultsOf = async (store: CopyableStore) => (await new Verification(store).run()).faults

async function fill(store: CopyableStore): Promise<void> {
  for (const id of [ANN, BOB, EVE]) await store.users.createUser(user(id))
  await store.inbox.append([...messages(1200), ...messages(700, ANN, EVE), broadcast(EVE, ANN)])
  await store.cursors.moveCursors([move(BOB, 'phone', { confirmed: 300, sent: 310 })])
  await store.kv.kvWrite([
    { put: 'sessions', key: [EVE, 'login'], value: Buffer.from('{}') },
    { put: 'meta', key: ['session', `${BOB}:phone`], value: Buffer.from('{}') },
  ])
}

for (const [name, openSource, skip] of [
  ['embedded', embedded, false],
  ['MongoDB', mongodb, skipWithoutMongo],
] as const) {
  t.test(`${name}: nothing is changed meanwhile`, { skip }, async t => {
    const [source, target] = [await openSource(t), await embedded(t)]
    await fill(source)
    await source.inbox.trimInbox(BOB, 100, 1000)
    await source.users.deleteUser(EVE)
    await copyUsedStore(source, target)
    for (const section of ['accounts', 'furthest', 'devices', 'trimmed', 'rows'] as const)
      t.same(await allOf(target, section), await allOf(source, section), section)
    t.same(await faultsOf(target), [])
  })

  t.test(`${name}: messages, limits, cursors, deletions and registrations meanwhile`, { skip }, async t => {
    const [source, target] = [await openSource(t), await embedded(t)]
    await fill(source)
    const used = changing(source, async (section, nth) => {
      if (section === 'devices' && nth === 0) {
        await source.inbox.append(messages(10))
        await source.cursors.moveCursors([move(BOB, 'tablet', { confirmed: 1210, sent: 1210 })])
      }
      if (section === 'rows' && nth === 0) {
        // 500 are read; the limit removes these, and more.
        await source.inbox.trimInbox(BOB, 600, 1000)
        await source.users.createUser(user(LATE))
        await source.inbox.append([message(ANN, LATE), message(LATE, ANN)])
      }
      // Some rows of EVE are read, others are not.
      if (section === 'rows' && nth === 2) await source.users.deleteUser(EVE)
      return undefined
    })
    await copyUsedStore(used, target)
    t.same(await faultsOf(target), [])
    const seqs = await rowsOf(target, BOB)
    t.equal(seqs[0], 601)
    t.equal(seqs.at(-1), 1210)
    t.equal(await target.inbox.firstSeq(BOB), 601)
    t.same(await rowsOf(target, EVE), [])
    t.equal(await target.users.findUser(EVE), undefined)
    t.match(await target.users.findUser(LATE), { id: LATE })
    for await (const { key } of target.kv.kvRange('sessions', [])) t.fail(`a login is left: ${key}`)
  })

  t.test(`${name}: an inbox that a limit empties keeps its number`, { skip }, async t => {
    const [source, target] = [await openSource(t), await embedded(t)]
    await fill(source)
    const used = changing(source, async (section, nth) => {
      if (section !== 'rows' || nth !== 0) return undefined
      await source.inbox.append(messages(5))
      await source.inbox.trimInbox(BOB, 1205, 5000)
      return undefined
    })
    await copyUsedStore(used, target)
    t.same(await faultsOf(target), [])
    t.same(await rowsOf(target, BOB), [])
    t.match(await target.inbox.append(messages(1)), [{ seq: 1206 }])
  })

  t.test(`${name}: addresses go from one account to another meanwhile`, { skip }, async t => {
    const [source, target] = [await openSource(t), await embedded(t)]
    const [first, second, third] = many as [string, string, string]
    const lastId = String(last)
    await Promise.all([...many, lastId].map(id => source.users.createUser(user(id, { username: `n${id}` }))))
    const address = (text: string) => ({ address: { email: text, emailKey: text } })
    let passes = 0
    const used = changing(source, async (section, _nth, page: Page<Section>) => {
      if (section !== 'accounts') return undefined
      const isFirst = (page.entries as Entries['accounts'][])[0]?.id === first
      if (isFirst) passes++
      if (!isFirst || passes !== 2) return undefined
      // Read is the first page; of it `third` is read a little later than the others.
      await source.users.changeUser(second, address('new@example.org'))
      await source.users.changeUser(third, address(`${second}@example.org`))
      await source.users.changeUser(first, address(`${third}@example.org`))
      await source.users.changeUser(lastId, address(`${first}@example.org`))
      await source.users.deleteUser(many[5] as string)
      await source.users.createUser(user('999999997', { username: `n${many[5]}` }))
      const fresh = (await source.contents().read('accounts', undefined)).entries as Entries['accounts'][]
      const entries = (page.entries as Entries['accounts'][]).map(entry =>
        entry.id === third ? (fresh.find(({ id }) => id === third) ?? entry) : entry,
      )
      return { entries, next: page.next }
    })
    await copyUsedStore(used, target)
    t.same(await faultsOf(target), [])
    for (const id of [first, second, third, lastId])
      t.equal((await target.users.findUser(id))?.emailKey, (await source.users.findUser(id))?.emailKey)
    t.equal(await target.users.findUser(many[5] as string), undefined)
    t.match(await target.users.findUsers({ username: `n${many[5]}` }, 1), [{ id: '999999997' }])
  })
}
