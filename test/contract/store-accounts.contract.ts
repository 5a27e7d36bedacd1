/** Accounts: look-ups, registration, passwords, deletion. Part of store.contract.ts. */
import type { Test } from 'tap'
import { pairConversation } from '../../src/core/model.js'
import type { Store, UserQuery } from '../../src/store/store.js'
import { ANN, BOB, EVE, message, messages, move, type OpenStore, user } from '../helpers/store-samples.js'

const taken = (field: string) => ({ name: 'GatewayError', kind: 'ERROR_EXIST_USER', info: { field } })

export function accountsContract(t: Test, open: OpenStore): void {
  registering(t, open)
  querying(t, open)
  passwords(t, open)
  factors(t, open)
  changing(t, open)
  deleting(t, open)
}

function registering(t: Test, open: OpenStore): void {
  t.test('finds a user by id and by address, without the password hash', async t => {
    const { store } = await open(t)
    const { passwordHash, ...ann } = user(ANN, {
      email: 'Ann@Example.org',
      emailKey: 'ann@example.org',
      firstName: '安',
    })
    await store.users.createUser({ ...ann, passwordHash })
    await store.users.createUser(user(BOB))
    t.strictSame(await store.users.findUser(ANN), ann)
    t.strictSame(await store.users.findUserByEmail('ann@example.org'), ann)
    t.strictSame(await store.users.findUsers({ firstName: '安' }, 10), [ann])
    t.equal(await store.users.findUserByEmail('Ann@Example.org'), undefined)
    t.equal(await store.users.findUserByEmail('ann@example.or'), undefined)
    for (const id of [EVE, '', '1', 'ann', '1e8', ' 100000001', '100000001 ', '0x5f5e101', '1000000011']) {
      t.equal(await store.users.findUser(id), undefined, `no user ${JSON.stringify(id)}`)
    }
  })

  t.test('refuses an address, a user name and an id that are taken', async t => {
    const { store } = await open(t)
    await store.users.createUser(user(ANN, { username: 'ann' }))
    await t.rejects(store.users.createUser(user(BOB, { emailKey: user(ANN).emailKey })), taken('email'))
    await t.rejects(store.users.createUser(user(BOB, { username: 'ann' })), taken('username'))
    await t.rejects(store.users.createUser(user(ANN, { emailKey: 'other@example.org' })), taken('id'))
    t.equal((await store.users.findUsers({}, 10)).length, 1)
    t.equal(await store.users.findUser(BOB), undefined)
    t.equal(await store.users.findUserByEmail('other@example.org'), undefined)
    await t.resolves(store.users.createUser(user(BOB, { username: 'an' })))
  })

  t.test('lets any number of users have no user name', async t => {
    const { store } = await open(t)
    await store.users.createUser(user(ANN))
    await t.resolves(store.users.createUser(user(BOB)))
    t.equal((await store.users.findUsers({}, 10)).length, 2)
  })

  t.test('accepts exactly one of many concurrent registrations of one address', async t => {
    const { store } = await open(t)
    const racing = Array.from({ length: 20 }, (_, i) =>
      user(String(200000000 + i), { emailKey: 'same@example.org' }),
    )
    const outcomes = await Promise.allSettled(racing.map(user => store.users.createUser(user)))
    const winners = racing.filter((_, i) => outcomes[i]?.status === 'fulfilled')
    t.equal(winners.length, 1)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') t.match(outcome.reason, taken('email'))
    }
    t.match(await store.users.findUserByEmail('same@example.org'), { id: winners[0]?.id })
    t.match(await store.users.findUsers({}, 100), [{ id: winners[0]?.id }])
    t.equal((await store.users.findUsers({}, 10)).length, 1)
  })

  t.test('lists all users after many concurrent registrations', async t => {
    const { store } = await open(t)
    const ids = Array.from({ length: 50 }, (_, i) => String(200000000 + i))
    await Promise.all(ids.map(id => store.users.createUser(user(id))))
    t.same((await store.users.findUsers({}, 100)).map(({ id }) => id).sort(), ids)
  })
}

function querying(t: Test, open: OpenStore): void {
  t.test('lists users oldest first, in pages', async t => {
    const { store } = await open(t)
    const ids = ['500000000', '300000000', '900000000', '100000000']
    for (const id of ids) await store.users.createUser(user(id))
    const page = async (limit: number, after?: string) =>
      (await store.users.findUsers({}, limit, after)).map(({ id }) => id)
    t.same(await page(0), [])
    t.same(await page(1), ids.slice(0, 1))
    t.same(await page(4), ids)
    t.same(await page(1000), ids)
    t.same(await page(2, '300000000'), ids.slice(2))
    t.same(await page(1, '300000000'), ids.slice(2, 3))
    t.same(await page(10, '100000000'), [])
    const noSuchUser = { name: 'GatewayError', kind: 'BAD_FIELD', info: { field: 'after' } }
    await t.rejects(page(10, EVE), noSuchUser)
    await t.rejects(page(10, 'x'), noSuchUser)
  })

  t.test('continues a page after a user who has been deleted', async t => {
    const { store } = await open(t)
    for (const id of [ANN, BOB, EVE]) await store.users.createUser(user(id))
    await store.users.deleteUser(BOB)
    t.match(await store.users.findUsers({}, 10, BOB), [{ id: EVE }])
    t.match(await store.users.findUsers({}, 10), [{ id: ANN }, { id: EVE }])
    await store.users.deleteUser(EVE)
    t.same(await store.users.findUsers({}, 10, EVE), [])
    await store.users.createUser(user('222222222'))
    t.match(await store.users.findUsers({}, 10, EVE), [{ id: '222222222' }], 'who registers later is younger')
  })

  t.test('finds only users who match all given fields', async t => {
    const { store } = await open(t)
    await store.users.createUser(user(ANN, { username: 'ann', firstName: 'Ann', lastName: 'Lee' }))
    await store.users.createUser(user(BOB, { username: 'bob', firstName: 'Bob', lastName: 'Lee' }))
    const ids = async (query: UserQuery, after?: string) =>
      (await store.users.findUsers(query, 10, after)).map(({ id }) => id)
    const emailKey = user(ANN).emailKey
    t.same(await ids({ id: ANN }), [ANN])
    t.same(await ids({ emailKey }), [ANN])
    t.same(await ids({ username: 'bob' }), [BOB])
    t.same(await ids({ lastName: 'Lee' }), [ANN, BOB])
    t.same(await ids({ lastName: 'Le' }), [])
    t.same(await ids({ lastName: 'Lee', firstName: 'Bob' }), [BOB])
    t.same(await ids({ id: ANN, emailKey, username: 'ann', firstName: 'Ann', lastName: 'Lee' }), [ANN])
    t.same(await ids({ id: BOB, emailKey }), [])
    t.same(await ids({ emailKey, username: 'bob' }), [])
    t.same(await ids({ username: 'ann', firstName: 'Bob' }), [])
    t.same(await ids({ id: 'nobody' }), [])
    t.same(await ids({ id: ANN }, BOB), [], 'not behind a younger one')
    t.same(await ids({ id: BOB }, ANN), [BOB])
  })

  t.test('finds users by first name, last name and both, in pages, whatever the names', async t => {
    const { store, reopen } = await open(t)
    const long = '名'.repeat(128)
    const names = [
      ['Ann', 'Lee'],
      ['Ann', 'Wu'],
      ['Bob', 'Lee'],
      ['Ann', 'Lee'],
      ['Lee', 'Ann'],
      ['AnnLee', ''],
      ['Ann', 'Lee'],
      [long, `${long.slice(1)}字`],
      ['","', '"],["'],
    ] as const
    const ids = names.map((_, i) => String(900_000_000 - i))
    for (const [i, [firstName, lastName]] of names.entries())
      await store.users.createUser(user(ids[i] ?? '', { firstName, lastName }))
    const at = (...places: number[]) => places.map(place => ids[place])
    const check = async (store: Store) => {
      const found = async (query: UserQuery, limit = 10, after?: number) =>
        (await store.users.findUsers(query, limit, after === undefined ? after : ids[after])).map(
          ({ id }) => id,
        )
      const [firstName, lastName] = names[0]
      t.same(await found({ firstName }), at(0, 1, 3, 6))
      t.same(await found({ firstName }, 2), at(0, 1))
      t.same(await found({ firstName }, 2, 1), at(3, 6))
      t.same(await found({ firstName }, 2, 2), at(3, 6), 'behind one that has another name')
      t.same(await found({ firstName }, 2, 6), [])
      t.same(await found({ lastName }), at(0, 2, 3, 6))
      t.same(await found({ lastName }, 1, 0), at(2))
      t.same(await found({ firstName, lastName }), at(0, 3, 6))
      t.same(await found({ firstName, lastName }, 1), at(0))
      t.same(await found({ firstName, lastName }, 1, 0), at(3))
      t.same(await found({ firstName, lastName }, 10, 3), at(6))
      t.same(await found({ firstName: lastName, lastName: firstName }), at(4))
      t.same(await found({ firstName: 'Bob', lastName: 'Wu' }), [])
      t.same(await found({ firstName: 'AnnLee' }), at(5))
      t.same(await found({ firstName: 'nobody' }), [])
      t.same(await found({ firstName, lastName, id: at(3)[0] ?? '' }), at(3))
      for (const place of [7, 8]) {
        const [firstName, lastName] = names[place] ?? ['', '']
        t.same(await found({ firstName }), at(place))
        t.same(await found({ lastName }), at(place))
        t.same(await found({ firstName, lastName }), at(place))
      }
    }
    await check(store)
    await store.users.createUser(user(ANN, { firstName: 'Ann', lastName: 'Lee' }))
    await store.users.deleteUser(ANN)
    await check(store)
    await check(await reopen())
  })

  t.test('finds users among thousands', async t => {
    const { store } = await open(t)
    const ids = Array.from({ length: 2101 }, (_, i) => String(200000000 + i))
    await Promise.all(
      ids.map((id, i) => store.users.createUser(user(id, { lastName: i % 700 === 0 ? 'Rare' : 'Common' }))),
    )
    t.equal((await store.users.findUsers({}, 5000)).length, 2101)
    t.equal((await store.users.findUsers({}, 2000)).length, 2000)
    t.equal((await store.users.findUsers({ lastName: 'Rare' }, 10)).length, 4)
    t.equal((await store.users.findUsers({}, 3000)).length, 2101)
  })
}

function passwords(t: Test, open: OpenStore): void {
  t.test('passes the hash only to compare, and returns its result', async t => {
    const { store } = await open(t)
    await store.users.createUser(user(ANN, { passwordHash: 'secret' }))
    t.equal(await store.users.checkPassword(ANN, async hash => hash === 'secret'), true)
    t.equal(await store.users.checkPassword(ANN, async () => false), false)
    t.equal(
      await store.users.checkPassword(BOB, () => Promise.reject(new Error('asked about nobody'))),
      false,
    )
    t.notMatch(
      JSON.stringify([await store.users.findUser(ANN), await store.users.findUsers({}, 9)]),
      'secret',
    )
  })

  t.test('changes a hash, but sets none for a user who does not exist', async t => {
    const { store } = await open(t)
    await store.users.createUser(user(ANN, { passwordHash: 'old' }))
    await store.users.setPasswordHash(ANN, 'new')
    t.equal(await store.users.checkPassword(ANN, async hash => hash === 'new'), true)
    await store.users.deleteUser(ANN)
    await store.users.setPasswordHash(ANN, 'back again')
    t.equal(await store.users.checkPassword(ANN, async () => true), false)
  })
}

function factors(t: Test, open: OpenStore): void {
  t.test('replaces a second factor only where it is what the caller read, also over a reopen', async t => {
    const { store, reopen } = await open(t)
    const { passwordHash, ...ann } = user(ANN)
    await store.users.createUser({ ...ann, passwordHash })
    t.equal(await store.users.findFactor(ANN), undefined)
    t.equal(await store.users.replaceFactor(ANN, 'another', 'one'), false)
    t.equal(await store.users.replaceFactor(ANN, undefined, 'one'), true)
    t.equal(await store.users.replaceFactor(ANN, undefined, 'two'), false)
    const again = await reopen()
    t.equal(await again.users.findFactor(ANN), 'one')
    t.strictSame(await again.users.findUser(ANN), ann, 'no look-up of the account has it')
    t.strictSame(await again.users.findUsers({}, 10), [ann])
    t.ok(await again.users.checkPassword(ANN, async hash => hash === passwordHash))
    t.equal(await again.users.replaceFactor(ANN, 'one', 'one'), true)
    t.equal(await again.users.replaceFactor(ANN, 'one', undefined), true)
    t.equal(await again.users.findFactor(ANN), undefined)
  })

  t.test('of many who replace a second factor at once, one does', async t => {
    const { store } = await open(t)
    await store.users.createUser(user(ANN))
    await store.users.replaceFactor(ANN, undefined, 'before')
    const replaced = await Promise.all(
      Array.from({ length: 20 }, (_, i) => store.users.replaceFactor(ANN, 'before', `by ${i}`)),
    )
    t.equal(replaced.filter(isDone => isDone).length, 1)
    t.equal(await store.users.findFactor(ANN), `by ${replaced.indexOf(true)}`)
  })

  t.test('nobody who does not exist or was deleted has a second factor', async t => {
    const { store } = await open(t)
    t.equal(await store.users.replaceFactor(EVE, undefined, 'one'), false)
    t.equal(await store.users.replaceFactor('x', undefined, 'one'), false)
    await store.users.createUser(user(ANN))
    await store.users.replaceFactor(ANN, undefined, 'one')
    await store.users.deleteUser(ANN)
    t.equal(await store.users.findFactor(ANN), undefined)
    t.equal(await store.users.replaceFactor(ANN, undefined, 'two'), false)
    t.equal(await store.users.replaceFactor(ANN, 'one', 'two'), false)
    t.equal(await store.users.findFactor(ANN), undefined)
  })
}

function changing(t: Test, open: OpenStore): void {
  t.test('changes and removes what an operator sets, and keeps all else, also over a reopen', async t => {
    const { store, reopen } = await open(t)
    const { passwordHash, ...ann } = user(ANN, { username: 'ann' })
    await store.users.createUser({ ...ann, passwordHash })
    await store.users.createUser(user(BOB))
    const disabledAt = 1_700_000_000_123
    t.strictSame(await store.users.changeUser(ANN, { disabledAt }), { ...ann, disabledAt })
    t.strictSame(await store.users.changeUser(ANN, { role: 'admin' }), { ...ann, disabledAt, role: 'admin' })
    const again = await reopen()
    t.strictSame(await again.users.findUser(ANN), { ...ann, disabledAt, role: 'admin' })
    t.strictSame(await again.users.findUsers({ username: 'ann' }, 10), [
      { ...ann, disabledAt, role: 'admin' },
    ])
    t.ok(await again.users.checkPassword(ANN, async hash => hash === passwordHash))
    t.strictSame(await again.users.changeUser(ANN, { disabledAt: null }), { ...ann, role: 'admin' })
    t.strictSame(
      await again.users.changeUser(ANN, { role: null, disabledAt: null }),
      ann,
      'twice is no error',
    )
    t.strictSame(await again.users.changeUser(ANN, {}), ann)
    const { passwordHash: _, ...bob } = user(BOB)
    t.strictSame(await again.users.findUser(BOB), bob, 'nobody else')
  })

  t.test('changes nobody who does not exist or was deleted', async t => {
    const { store } = await open(t)
    t.equal(await store.users.changeUser(EVE, { role: 'admin' }), undefined)
    t.equal(await store.users.changeUser('x', { role: 'admin' }), undefined)
    await store.users.createUser(user(ANN))
    await store.users.deleteUser(ANN)
    t.equal(await store.users.changeUser(ANN, { disabledAt: 1 }), undefined)
    t.equal(await store.users.findUser(ANN), undefined)
  })
}

function deleting(t: Test, open: OpenStore): void {
  t.test(
    'deletes an account with its inbox, cursors and conversations, and does not reuse its id',
    async t => {
      const opened = await open(t)
      const { store } = opened
      await store.users.createUser(user(ANN, { username: 'ann' }))
      await store.users.createUser(user(BOB))
      await store.inbox.append([...messages(1200, BOB, ANN), message(ANN, BOB)])
      await store.cursors.moveCursors([
        move(ANN, '', { confirmed: 5 }),
        move(ANN, 'phone', { confirmed: 7 }),
        move(BOB, ''),
      ])
      await store.users.deleteUser(ANN)

      t.equal(await store.users.findUser(ANN), undefined)
      t.equal(await store.users.findUserByEmail(user(ANN).emailKey), undefined)
      t.same(await store.users.findUsers({ username: 'ann' }, 10), [])
      t.match(await store.users.findUsers({}, 10), [{ id: BOB }])
      t.equal((await store.users.findUsers({}, 10)).length, 1)
      t.same(await store.inbox.readInbox(ANN, 0, 10), [])
      t.equal(await store.cursors.cursor(ANN, 'phone'), undefined)
      t.equal(await store.cursors.slowest(ANN), undefined)
      t.equal(await store.cursors.furthest(ANN), 0)
      t.match(await store.inbox.readInbox(BOB, 0, 10), [{ seq: 1 }], 'what she sent stays with its reader')
      t.match(await store.inbox.readConversation(pairConversation(ANN, BOB), 10), [
        { inbox: BOB, row: { seq: 1 } },
      ])

      const again = await opened.reopen()
      await t.rejects(again.users.createUser(user(ANN, { emailKey: 'new@example.org' })), taken('id'))
      await t.resolves(
        again.users.createUser(user(EVE, { emailKey: user(ANN).emailKey, username: 'ann' })),
        'both are free',
      )
    },
  )

  t.test('deleting twice, or a user who does not exist, is no error', async t => {
    const { store } = await open(t)
    await store.users.createUser(user(ANN))
    await Promise.all([store.users.deleteUser(ANN), store.users.deleteUser(ANN)])
    await t.resolves(store.users.deleteUser(EVE))
    await t.resolves(store.users.createUser(user(EVE)), 'an id that nobody had is free')
    t.equal((await store.users.findUsers({}, 10)).length, 1)
  })
}
