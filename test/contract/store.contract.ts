/** The contract of every store. The test file of each store runs it, with a new store for each test. */

import type { Test } from 'tap'
import { pairConversation } from '../../src/core/model.js'
import { ANN, BOB, everyCall, message, move, type OpenStore, user } from '../helpers/store-samples.js'
import { accountsContract } from './store-accounts.contract.js'
import { cursorsContract } from './store-cursors.contract.js'
import { inboxContract } from './store-inbox.contract.js'
import { kvContract } from './store-kv.contract.js'
import { sharedContract } from './store-shared.contract.js'

export function storeContract(t: Test, open: OpenStore): void {
  lifeContract(t, open)
  accountsContract(t, open)
  inboxContract(t, open)
  cursorsContract(t, open)
  kvContract(t, open)
  sharedContract(t, open)
}

function lifeContract(t: Test, open: OpenStore): void {
  t.test('answers a ping', async t => {
    const { store } = await open(t)
    await t.resolves(store.ping())
    await t.resolves(store.ping())
  })

  t.test('can be closed twice, and refuses later calls as STORE_UNAVAILABLE', async t => {
    const { store } = await open(t)
    await Promise.all([store.close(), store.close()])
    await store.close()
    for (const [name, call] of Object.entries(everyCall(store))) {
      await t.rejects(call(), { name: 'GatewayError', kind: 'STORE_UNAVAILABLE' }, name)
    }
  })

  t.test('keeps all data when it is reopened', async t => {
    const opened = await open(t)
    await opened.store.users.createUser(user(ANN, { username: 'ann' }))
    await opened.store.inbox.append([message(BOB, ANN), message(BOB, ANN)])
    await opened.store.cursors.moveCursors([move(ANN, 'phone', { confirmed: 1, sent: 2, released: [2] })])
    await opened.store.kv.kvWrite([{ put: 'meta', key: ['k', 1], value: Buffer.from('v') }])

    const store = await opened.reopen()
    t.match(await store.users.findUsers({ username: 'ann' }, 10), [{ id: ANN }])
    t.equal((await store.users.findUsers({}, 10)).length, 1)
    t.match(await store.inbox.readInbox(ANN, 0, 10), [{ seq: 1 }, { seq: 2 }])
    t.equal((await store.inbox.readConversation(pairConversation(ANN, BOB), 10)).length, 2)
    t.same(await store.cursors.cursor(ANN, 'phone'), { confirmed: 1, sent: 2, released: [2] })
    t.equal(await store.cursors.furthest(ANN), 1)
    t.same(await store.kv.kvGet('meta', ['k', 1]), Buffer.from('v'))
    t.match(await store.inbox.append([message(BOB, ANN)]), [{ seq: 3, repeat: false }])
  })

  t.test('answers writes of all kinds in the order of the calls', async t => {
    const { store } = await open(t)
    const value = Buffer.from('v')
    const calls = Array.from({ length: 10 }, (_, i) => [
      () => store.kv.kvWrite([{ put: 'meta', key: ['k', i], value }]),
      () => store.cursors.moveCursors([move(ANN, 'phone', { confirmed: i })]),
      () => store.kv.kvWrite([{ remove: 'meta', key: ['k', i] }]),
      () => store.users.createUser(user(String(200000000 + i))),
    ]).flat()
    const answered: number[] = []
    await Promise.all(calls.map((call, i) => call().then(() => answered.push(i))))
    t.same(answered, [...calls.keys()])
  })

  t.test('keeps accepted writes when it is closed immediately', async t => {
    const opened = await open(t)
    const accepted = [
      opened.store.inbox.append([message(ANN, BOB)]),
      opened.store.kv.kvWrite([{ put: 'meta', key: ['k'], value: Buffer.from('v') }]),
    ]
    const store = await opened.reopen()
    await Promise.all(accepted)
    t.equal(await store.inbox.lastSeq(BOB), 1)
    t.same(await store.kv.kvGet('meta', ['k']), Buffer.from('v'))
  })
}
