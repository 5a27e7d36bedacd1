/** Whose a user name is, also where several gateways share a store. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Accounts } from '../../src/accounts/accounts.js'
import { Passwords } from '../../src/accounts/passwords.js'
import { isNameOf } from '../../src/accounts/user-name.js'
import { UserNames } from '../../src/accounts/user-names.js'
import type { User } from '../../src/core/model.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import type { Store } from '../../src/store/store.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB, EVE, user } from '../helpers/store-samples.js'

const HOUR = 3_600_000
const passwords = new Passwords({ cost: 4, concurrency: 1, queue: 100 })
const TAKEN = ofKind('ERROR_EXIST_USER', { info: { field: 'username' } })

async function openStore(t: Test): Promise<Store> {
  const store = new EmbeddedStore({ dir: dataDir(t), durability: 'commit', dedupWindowMs: 1000 })
  await store.open()
  t.teardown(() => store.close())
  return store
}

let made = 0

/** One gateway on the store. */
function gatewayOn(store: Store) {
  const names = new UserNames(store.users, store.shared, {
    reserved: ['admin', 'me', 'no name'],
    holdMs: HOUR,
  })
  const accounts = new Accounts(store.users, passwords, undefined, undefined, names)
  const register = (username: string): Promise<User> =>
    accounts.register({
      ...{ email: `${++made}.${username.length}@example.com`, password: 'p', firstName: 'f', lastName: 'l' },
      username,
    })
  return { names, accounts, register }
}

t.test(
  'a name is found in all its spellings; what looks like it is nobody’s and can be nobody’s',
  async t => {
    const { accounts, register } = gatewayOn(await openStore(t))
    const { id } = await register('PayPal')
    for (const name of ['PayPal', 'paypal', 'ＰＡＹＰＡＬ']) {
      t.match(await accounts.findByName(name), { id, username: 'PayPal' }, name)
      t.match(await accounts.query({ username: name }, 10), [{ id }], name)
      t.match(await accounts.query({ username: name, id }, 10), [{ id }])
      t.same(await accounts.query({ username: name, id: ANN }, 10), [])
      t.same(await accounts.query({ username: name, firstName: 'x' }, 10), [])
    }
    for (const name of ['раураl', 'paypa1', 'paypaI', 'nobody', '', 'x'.repeat(65_535)]) {
      t.equal(await accounts.findByName(name), undefined, name.slice(0, 10))
      t.same(await accounts.query({ username: name, email: 'nobody@example.com' }, 10), [])
    }
    for (const name of ['paypal', 'PAYPAL', 'раураl', 'paypa1', 'paypaI'])
      await t.rejects(register(name), TAKEN, name)
    for (const name of ['admin', 'Admin', 'аdmin', 'ADM1N', 'me', 'a.d-m_in', 'admin42', 'Admi\u0307n.1'])
      await t.rejects(
        register(name),
        ofKind('BAD_FIELD', { info: { field: 'username', reason: 'is reserved' } }),
        name,
      )
    await t.resolves(accounts.changeProfile(id, { username: 'admin' }, undefined, true), 'an operator may')
  },
)

t.test('failed logins are counted for the account, whatever it is called', async t => {
  const { accounts, register } = gatewayOn(await openStore(t))
  const { id, email } = await register('Annie')
  for (const name of ['Annie', 'ANNIE', 'ａｎｎｉｅ', email, id])
    t.equal(await accounts.keyOf(name), id, name)
  t.equal(await accounts.keyOf('Nobody'), await accounts.keyOf('nobody'))
  t.not(await accounts.keyOf('Nobody'), await accounts.keyOf('nobody2'))
})

t.test('a login is by a name that the account has, and a token or credential by such a one', async t => {
  const { accounts, register } = gatewayOn(await openStore(t))
  const ann = await register('Ann.Lee')
  t.match(await accounts.authenticate('ann.lee', 'p'), { id: ann.id })
  await t.rejects(accounts.authenticate('ann.lee', 'q'), ofKind('ERROR_AUTH'))
  await t.rejects(accounts.authenticate('ann_lee', 'p'), ofKind('ERROR_AUTH'))
  for (const name of ['ANN.LEE', ann.email, ann.id]) t.ok(isNameOf(ann, name), name)
  for (const name of ['ann', '', 'аnn.lee']) t.notOk(isNameOf(ann, name), name)
  // Another issuer's claim is an id or an address; it must not be taken for a user name.
  t.equal(await accounts.find('ann.lee'), undefined)
})

t.test('of many who want names that look the same, one gets it, whatever gateway they ask', async t => {
  const store = await openStore(t)
  const gateways = [gatewayOn(store), gatewayOn(store)]
  const wanted = ['ann', 'ANN', 'Ann', 'ɑnn', 'aNn']
  const tries = wanted.flatMap((name, i) =>
    gateways.map((one, j) =>
      one.accounts.register({
        ...{ email: `${i}.${j}@example.com`, password: 'p', firstName: 'f', lastName: 'l', username: name },
      }),
    ),
  )
  const outcomes = await Promise.allSettled(tries)
  t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const one of outcomes) if (one.status === 'rejected') t.match(one.reason, { kind: 'ERROR_EXIST_USER' })
  t.equal((await store.users.findUsers({}, 100)).length, 1)
})

t.test('vvanda and wanda are one name to whoever comes second; who had one before keeps it', async t => {
  const { register, names } = gatewayOn(await openStore(t))
  const wanda = await register('wanda')
  await t.rejects(register('vvanda'), TAKEN)
  const ovven = await register('ovven')
  await t.rejects(register('owen'), TAKEN)
  t.equal((await names.find('ovven'))?.id, ovven.id)
  t.equal(await names.find('vvanda'), undefined)
  t.equal((await names.find('wanda'))?.id, wanda.id)
})

t.test('a name that was given up is its former owner’s, and no other’s', async t => {
  const store = await openStore(t)
  const [here, there] = [gatewayOn(store), gatewayOn(store)]
  const ann = await here.register('ann')
  const eve = await here.register('eve')
  t.equal(await there.names.idOf('ann'), ann.id)
  t.equal(there.names.known('ann'), ann.id)
  t.match(await here.accounts.changeProfile(ann.id, { username: 'anna' }), { username: 'anna' })
  t.equal(here.names.known('ann'), undefined)
  t.equal(await here.names.idOf('ann'), undefined, 'nobody has it')
  t.equal(await here.names.idOf('anna'), ann.id)
  // The other gateway has not heard of it: what it sends to `ann` goes to her, who had it.
  t.equal(there.names.known('ann'), ann.id)
  for (const { accounts } of [here, there])
    await t.rejects(accounts.changeProfile(eve.id, { username: 'Ann' }), TAKEN)
  await t.rejects(there.register('ɑnn'), TAKEN)
  t.match(await there.accounts.changeProfile(ann.id, { username: 'Ann' }), { username: 'Ann' }, 'back')
  await t.rejects(there.accounts.changeProfile(eve.id, { username: 'anna' }), TAKEN)
  t.match(await here.accounts.changeProfile(ann.id, { username: '' }), { username: '' }, 'no name')
  await t.rejects(here.register('ann'), TAKEN)
})

t.test('the name of a deleted account is nobody’s for a time, and then free', async t => {
  const store = await openStore(t)
  const { accounts, names, register } = gatewayOn(store)
  const { id } = await register('ann')
  await accounts.remove(id)
  t.equal(await accounts.findByName('ann'), undefined)
  await t.rejects(register('Ann'), TAKEN)
  t.same(await store.shared.sharedOf('names', id), [], 'nothing tells whose it was')
  await names.sweep()
  await t.rejects(register('ann'), TAKEN)
  await names.sweep(Date.now() + 2 * HOUR)
  await t.resolves(register('ann'))
})

t.test('an account keeps a few names from others, not all', async t => {
  const store = await openStore(t)
  const { accounts, register } = gatewayOn(store)
  const { id } = await register('name0')
  let changes = 0
  const rename = async (): Promise<void> => {
    await accounts.changeProfile(id, { username: `name${changes + 2}x` })
    changes++
    return rename()
  }
  await t.rejects(rename(), ofKind('TOO_MANY_CHANGES'))
  t.ok(changes >= 3 && changes <= 12, `${changes}`)
  t.match(await store.users.findUser(id), { username: `name${changes + 1}x` }, 'the last one stays')
  await t.resolves(register(`name${changes + 2}x`), 'what was refused is free')
})

t.test(
  'names from before are their accounts’, the older of two counts, and what is no name stays',
  async t => {
    const store = await openStore(t)
    const old = ['Bob', 'bob', 'Ann Lee', '123456789', 'x@y', 'ann']
    for (const [i, username] of old.entries())
      await store.users.createUser(user(String(200000000 + i), { username }))
    const { accounts, names, register } = gatewayOn(store)
    for (const name of ['BOB', 'bоb', 'ANN']) await t.rejects(register(name), TAKEN, name)
    t.match(await accounts.findByName('Ann'), { id: '200000005' })
    t.match(await accounts.findByName('Bob'), { id: '200000000' })
    t.match(await accounts.findByName('BOB'), { id: '200000000' })
    t.equal(
      await accounts.findByName('bob'),
      undefined,
      'the younger one has it so, and it is not taken for the older',
    )
    for (const [i, username] of old.entries())
      t.match(await accounts.query({ username }, 10), [{ id: String(200000000 + i) }], username)
    t.equal(await names.find('Ann Lee'), undefined)
    await t.resolves(accounts.changeProfile('200000001', { username: 'bobby' }))
    t.match(await accounts.findByName('bob'), { id: '200000000' })
    // One that a version without claims makes while this one runs, or before the next start.
    await store.users.createUser(user(EVE, { username: 'Eve' }))
    t.match(await gatewayOn(store).accounts.findByName('eve'), { id: EVE })
  },
)

t.test('a claim whose account never got the name is void after a minute', async t => {
  const store = await openStore(t)
  const { names, accounts, register } = gatewayOn(store)
  await t.rejects(
    names.take(ANN, names.read('ann'), async () => Promise.reject(new Error('down'))),
    /down/,
  )
  const { id } = await register('ann')
  t.ok(id, 'what failed leaves no claim')
  const { now } = Date
  t.teardown(() => {
    Date.now = now
  })
  // A process that was killed in between.
  void names.take(BOB, names.read('bob'), () => new Promise(() => undefined))
  while ((await store.shared.sharedOf('names', BOB)).length === 0) await nextTurn()
  await t.rejects(register('bob'), TAKEN)
  Date.now = () => now() + 61_000
  const bob = await register('bob')
  t.match(await accounts.findByName('bob'), { id: bob.id })
})
