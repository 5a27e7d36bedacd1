/** Records of accounts that gateways share. Part of store.contract.ts. */
import type { Test } from 'tap'
import { ANN, BOB, type OpenStore, user } from '../helpers/store-samples.js'

const of = (userId: string, text: string) => ({ userId, value: Buffer.from(text) })

export function sharedContract(t: Test, open: OpenStore): void {
  t.test('a shared record is put, replaced and removed only where it is as it is said to be', async t => {
    const { store } = await open(t)
    const { shared } = store
    const swap = shared.sharedSwap.bind(shared, 'names', 'k')
    t.equal(await shared.sharedGet('names', 'k'), undefined)
    t.equal(await swap(of(ANN, '1'), of(ANN, '2')), false, 'there is none')
    t.equal(await swap(of(ANN, '1'), undefined), false)
    t.equal(await swap(undefined, undefined), true)
    t.equal(await swap(undefined, of(ANN, '1')), true)
    t.equal(await swap(undefined, of(BOB, '1')), false, 'there is one')
    t.equal(await swap(undefined, undefined), false)
    t.match(await shared.sharedGet('names', 'k'), { key: 'k', ...of(ANN, '1') })
    t.equal(await shared.sharedGet('images', 'k'), undefined, 'in this collection alone')
    t.equal(await swap(of(BOB, '1'), of(BOB, '2')), false, 'another owner')
    t.equal(await swap(of(ANN, '11'), of(BOB, '2')), false, 'another value')
    t.equal(await swap(of(ANN, '1'), of(BOB, '2')), true)
    t.match(await shared.sharedGet('names', 'k'), of(BOB, '2'))
    t.same([await shared.sharedOf('names', ANN), await shared.sharedOf('names', BOB)], [[], ['k']])
    t.equal(await swap(of(BOB, '2'), undefined), true)
    t.equal(await shared.sharedGet('names', 'k'), undefined)
    t.same(await shared.sharedOf('names', BOB), [])
  })

  t.test('of many that put the same shared record at once, one does', async t => {
    const { store } = await open(t)
    const tries = Array.from({ length: 20 }, (_, i) =>
      store.shared.sharedSwap('names', 'k', undefined, of(String(200000000 + i), 'x')),
    )
    const done = await Promise.all(tries)
    t.equal(done.filter(Boolean).length, 1)
    t.match(await store.shared.sharedGet('names', 'k'), { userId: String(200000000 + done.indexOf(true)) })
  })

  t.test('shared records of an account go with it; those of others and of nobody stay', async t => {
    const opened = await open(t)
    const { users, shared } = opened.store
    for (const id of [ANN, BOB]) await users.createUser(user(id))
    for (let i = 0; i < 250; i++) await shared.sharedSwap('names', `n${i}`, undefined, of(ANN, '1'))
    await shared.sharedSwap('images', 'i', undefined, of(ANN, '1'))
    await shared.sharedSwap('images', 'other', undefined, of(BOB, '1'))
    await shared.sharedSwap('names', 'nobody', undefined, of('', '1'))
    t.equal((await shared.sharedOf('names', ANN)).length, 250)
    await users.deleteUser(ANN)
    t.same(await shared.sharedOf('names', ANN), [])
    t.equal(await shared.sharedGet('images', 'i'), undefined)
    t.equal(await shared.sharedSwap('names', 'late', undefined, of(ANN, '1')), false, 'nor later ones')
    const store = await opened.reopen()
    t.same(await store.shared.sharedOf('images', BOB), ['other'])
    t.same(await store.shared.sharedOf('names', ''), ['nobody'])
    t.match(await store.shared.sharedGet('names', 'nobody'), of('', '1'))
  })

  t.test('a profile is changed: names are found anew, and a user name is one account’s', async t => {
    const { store } = await open(t)
    const { users } = store
    await users.createUser(user(ANN, { username: 'ann' }))
    await users.createUser(user(BOB, { username: 'bob' }))
    const change = { username: 'anna', firstName: 'Anna', lastName: 'L', key: 'k', profileImage: '/i' }
    t.match(await users.changeUser(ANN, change), { id: ANN, ...change })
    t.match(await users.findUser(ANN), { id: ANN, ...change })
    t.match(await users.findUsers({ username: 'anna' }, 10), [{ id: ANN }])
    t.match(await users.findUsers({ firstName: 'Anna', lastName: 'L' }, 10), [{ id: ANN }])
    t.match(await users.findUsers({ firstName: 'First' }, 10), [{ id: BOB }])
    t.same(await users.findUsers({ username: 'ann' }, 10), [])
    const taken = { name: 'GatewayError', kind: 'ERROR_EXIST_USER', info: { field: 'username' } }
    await t.rejects(users.changeUser(ANN, { username: 'bob', key: 'x' }), taken)
    t.match(await users.findUser(ANN), { username: 'anna', key: 'k' })
    t.match(await users.changeUser(ANN, { username: '' }), { username: '' })
    t.match(await users.changeUser(BOB, { username: '' }), { username: '' }, 'any number have none')
    t.match(await users.changeUser(BOB, { username: 'anna' }), { username: 'anna' })
  })
}
