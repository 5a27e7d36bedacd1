import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import t, { type Test } from 'tap'
import { DeletedUsers, Remains } from '../../src/store/deleted.js'
import { EmbeddedEnv } from '../../src/store/embedded/env.js'
import { EmbeddedKv } from '../../src/store/embedded/kv.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { type OpenTable, tableOpener } from '../../src/store/embedded/table.js'
import { EmbeddedUsers } from '../../src/store/embedded/users.js'
import { ANN, BOB, EVE, user } from '../helpers/store-samples.js'

const COUNT = 3000
const idOf = (n: number) => String(200_000_000 + n)
const check = { pages: 'unclean', timeoutMs: 30_000 } as const

/** Names of the n-th of many: half of them have a first name, and two a last name. */
const namesOf = (n: number) => ({
  firstName: n % 2 === 0 ? 'Even' : 'Odd',
  lastName: n === 2000 || n === 2500 ? 'Rare' : n % 2 === 0 ? 'Two' : 'One',
})

const folder = (t: Test) => join(t.testdir(), 'db')

function usersOf(env: EmbeddedEnv, table: OpenTable): EmbeddedUsers {
  const deleted = new DeletedUsers()
  return new EmbeddedUsers(env, table, deleted, new Remains(new EmbeddedKv(env, table, deleted), []))
}

/** Accounts as the store has them, and how many rows of any table were read since `count` was last set. */
async function counted(t: Test) {
  const rows = { count: 0 }
  const env = new EmbeddedEnv({ dir: folder(t), durability: 'commit', check })
  const users = await env.open(table => usersOf(env, counting(table, rows)))
  t.teardown(() => env.close())
  await Promise.all(Array.from({ length: COUNT }, (_, n) => users.createUser(user(idOf(n), namesOf(n)))))
  return { rows, users }
}

function counting(table: OpenTable, rows: { count: number }): OpenTable {
  const open = (...about: Parameters<OpenTable>) => {
    const inner = table(...about)
    return {
      get: (key: never) => {
        rows.count++
        return inner.get(key)
      },
      *getRange(bounds: never) {
        for (const row of inner.getRange(bounds)) {
          rows.count++
          yield row
        }
      },
      put: (key: never, value: never) => inner.put(key, value),
      remove: (key: never) => inner.remove(key),
      getKeys: (bounds: never) => inner.getKeys(bounds),
      clearAsync: () => inner.clearAsync(),
      getStats: () => inner.getStats(),
    }
  }
  return open as OpenTable
}

t.test('a query reads only the accounts that it returns', async t => {
  const { rows, users } = await counted(t)
  const cases = [
    [{ firstName: 'nobody' }, undefined, 0],
    [{ lastName: 'nobody' }, undefined, 0],
    [{ firstName: 'nobody', lastName: 'nobody' }, undefined, 0],
    [{ firstName: 'Even', lastName: 'One' }, undefined, 0],
    [{ firstName: 'Odd', lastName: 'Rare' }, undefined, 0],
    [{ firstName: 'Even', lastName: 'Rare' }, undefined, 2],
    [{ lastName: 'Rare' }, 2000, 1],
    [{ lastName: 'Rare' }, 2500, 0],
    [{ firstName: 'Even', lastName: 'Two' }, 1000, 10],
    [{ firstName: 'Even' }, 2990, 4],
    [{ firstName: 'Odd' }, undefined, 10],
    [{ firstName: 'Even', username: 'nobody' }, undefined, 0],
    [{}, undefined, 10],
    [{}, 2995, 4],
  ] as const
  for (const [query, after, found] of cases) {
    rows.count = 0
    const name = `${JSON.stringify(query)} after ${after}`
    t.equal((await users.findUsers(query, 10, after && idOf(after))).length, found, name)
    // An entry of the index and an account each, and where `after` is.
    t.ok(rows.count <= 2 * found + 1, `${name}: ${rows.count} rows`)
  }
})

/** Data of a version without the index: accounts, and no index entries. */
async function withoutIndex(dir: string, indexedUpTo?: number): Promise<void> {
  const root = openLmdb({ path: dir, noSubdir: false, maxDbs: 32 })
  const names = tableOpener(root as never)<number>('names')
  await root.transaction(() => {
    names.clearAsync()
    if (indexedUpTo !== undefined) names.put(['indexed'], indexedUpTo)
  })
  await root.close()
}

async function opened(t: Test, dir: string): Promise<EmbeddedStore> {
  const store = new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 1000 })
  await store.open()
  t.teardown(() => store.close())
  return store
}

t.test('accounts of a version without the index are found after opening', async t => {
  const dir = folder(t)
  const store = await opened(t, dir)
  await Promise.all(
    Array.from({ length: COUNT }, (_, n) => store.users.createUser(user(idOf(n), namesOf(n)))),
  )
  await store.users.deleteUser(idOf(2500))
  await store.close()
  await withoutIndex(dir)
  const again = await opened(t, dir)
  t.equal((await again.users.findUsers({ firstName: 'Odd' }, COUNT)).length, COUNT / 2)
  t.equal((await again.users.findUsers({ firstName: 'Even' }, COUNT)).length, COUNT / 2 - 1)
  t.match(await again.users.findUsers({ firstName: 'Even', lastName: 'Rare' }, 10), [{ id: idOf(2000) }])
  await again.users.deleteUser(idOf(2000))
  t.same(await again.users.findUsers({ lastName: 'Rare' }, 10), [], 'and who is deleted is out of it')
  await again.close()
  // As a stop in the middle leaves it, or a version without it that registered some more.
  await withoutIndex(dir, 2000)
  const third = await opened(t, dir)
  t.equal(
    (await third.users.findUsers({ firstName: 'Odd' }, COUNT)).length,
    500,
    'the rest and not all again',
  )
})

t.test('an account deleted by a version without the index is not found, and others are', async t => {
  const dir = folder(t)
  const store = await opened(t, dir)
  for (const id of [ANN, BOB, EVE]) await store.users.createUser(user(id))
  await store.close()
  const root = openLmdb({ path: dir, noSubdir: false, maxDbs: 32 })
  await tableOpener(root as never)('accounts').remove([1])
  await root.close()
  const again = await opened(t, dir)
  t.match(await again.users.findUsers({ firstName: 'First' }, 1), [{ id: BOB }])
  t.match(await again.users.findUsers({ firstName: 'First', lastName: 'Last' }, 2), [
    { id: BOB },
    { id: EVE },
  ])
  t.same(await again.users.findUsers({ firstName: randomUUID() }, 2), [])
})
