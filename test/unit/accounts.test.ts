import t from 'tap'
import { Accounts } from '../../src/accounts/accounts.js'
import { normalizeEmail } from '../../src/accounts/email.js'
import { Passwords } from '../../src/accounts/passwords.js'
import { GatewayError } from '../../src/core/errors.js'
import type { User } from '../../src/core/model.js'
import type { NewUser, UserQuery, Users } from '../../src/store/store.js'
import { ofKind } from '../helpers/kind.js'

const WHOLE = { email: 'Abc@Example.com', password: 'p', firstName: 'Eric', lastName: 'Chen' }

/** The part of a store that accounts need, in a Map. */
class HandStore {
  readonly users = new Map<string, NewUser>()
  readonly queries: [UserQuery, number, string | undefined][] = []
  /** How many ids are refused as taken before one is accepted. */
  takenIds = 0
  lookups = 0
  /** Called when a hash was replaced. */
  hashed: (() => void) | undefined
  /** Resolves look-ups and deletions when they are held. */
  held: (() => void)[] | undefined

  async #wait(): Promise<void> {
    if (this.held) await new Promise<void>(resolve => this.held?.push(resolve))
  }

  async createUser(user: NewUser): Promise<void> {
    if (this.takenIds-- > 0) throw new GatewayError('ERROR_EXIST_USER', { field: 'id' })
    this.users.set(user.id, user)
  }

  async findUser(id: string): Promise<User | undefined> {
    this.lookups++
    const user = this.users.get(id)
    await this.#wait()
    return user
  }

  async findUserByEmail(emailKey: string): Promise<User | undefined> {
    return [...this.users.values()].find(user => user.emailKey === emailKey)
  }

  async findUsers(query: UserQuery, limit: number, after?: string): Promise<User[]> {
    this.queries.push([query, limit, after])
    return []
  }

  async checkPassword(id: string, compare: (hash: string) => Promise<boolean>): Promise<boolean> {
    return compare(this.users.get(id)?.passwordHash ?? '')
  }

  async setPasswordHash(id: string, passwordHash: string): Promise<void> {
    const user = this.users.get(id)
    if (user !== undefined) this.users.set(id, { ...user, passwordHash })
    this.hashed?.()
  }

  async deleteUser(id: string, gone?: () => Promise<unknown>): Promise<void> {
    this.users.delete(id)
    await gone?.()
    await this.#wait()
  }
}

function setUp() {
  const store = new HandStore()
  const passwords = new Passwords({ cost: 4, concurrency: 2, queue: 100 })
  return { store, accounts: new Accounts(store as unknown as Users, passwords) }
}

t.test('failed logins of an account have one short key, whatever name was used', async t => {
  const { accounts } = setUp()
  const { id } = await accounts.register(WHOLE)
  for (const name of [WHOLE.email, WHOLE.email.toUpperCase(), id])
    t.equal(await accounts.keyOf(name), id, name)
  t.equal(await accounts.keyOf('NOBODY@example.com'), await accounts.keyOf('nobody@example.com'))
  t.not(await accounts.keyOf('nobody@example.com'), await accounts.keyOf('somebody@example.com'))
  t.ok((await accounts.keyOf('x'.repeat(65_535))).length < 64, 'an MQTT user name is not kept')
})

t.test('the normalised form of an email', async t => {
  const forms: [string, string][] = [
    ['abc@example.com', 'abc@example.com'],
    ['ABC@Example.COM', 'abc@example.com'],
    ['a@bücher.example', 'a@xn--bcher-kva.example'],
    ['a@xn--bcher-kva.example', 'a@xn--bcher-kva.example'],
    ['a@bu\u0308cher.example', 'a@xn--bcher-kva.example'],
    ['mu\u0308ller@example.com', 'm\u00fcller@example.com'],
    ['"a@b"@example.com', '"a@b"@example.com'],
    ['a.b+c@example.com', 'a.b+c@example.com'],
    ['@example.com', ''],
    ['abc', ''],
    ['abc@', ''],
    ['a@exa mple.com', ''],
    ['', ''],
  ]
  // No character that a URL may have after its host is accepted, so one address has one spelling.
  for (const behind of ['?lang=en', '/x', '#x', '\\x', ':80', '%2e', '\t', '['])
    forms.push([`a@example.com${behind}`, ''])
  for (const [email, key] of forms) t.equal(normalizeEmail(email), key, email)
})

t.test('a new account keeps the address as given, has a nine-digit id, and shows no password', async t => {
  const { accounts, store } = setUp()
  const user = await accounts.register(WHOLE)
  t.match(user, { id: /^[1-9]\d{8}$/, email: 'Abc@Example.com', emailKey: 'abc@example.com', username: '' })
  t.notOk('passwordHash' in user)
  t.notOk('password' in user)
  t.match(store.users.get(user.id)?.passwordHash, /^\$2b\$/)
})

t.test('a taken id is drawn again, a limited number of times', async t => {
  const { accounts, store } = setUp()
  store.takenIds = 5
  await accounts.register(WHOLE)
  store.takenIds = 1000
  await t.rejects(
    accounts.register({ ...WHOLE, email: 'other@example.com' }),
    ofKind('ERROR_ADD_USER_FAILED'),
  )
})

t.test('a taken email costs no hash; an invalid address is refused', async t => {
  const { accounts } = setUp()
  await accounts.register(WHOLE)
  await t.rejects(accounts.register({ ...WHOLE, email: 'ABC@example.com' }), ofKind('ERROR_EXIST_USER'))
  await t.rejects(
    accounts.register({ ...WHOLE, email: 'nonsense' }),
    ofKind('BAD_FIELD', { info: { field: 'email' } }),
  )
})

t.test('authenticate by email in any spelling or by id; everything else is ERROR_AUTH', async t => {
  const { accounts } = setUp()
  const { id } = await accounts.register(WHOLE)
  for (const login of ['Abc@Example.com', 'abc@EXAMPLE.com', id]) {
    t.match(await accounts.authenticate(login, 'p'), { id }, login)
    await t.rejects(accounts.authenticate(login, 'wrong'), ofKind('ERROR_AUTH'), login)
  }
  for (const login of ['nobody@example.com', '100000000', 'nonsense', '', '__proto__']) {
    await t.rejects(accounts.authenticate(login, 'p'), ofKind('ERROR_AUTH'), login)
  }
})

t.test('a query uses the normalised email, and does not ask the store for an invalid one', async t => {
  const { accounts, store } = setUp()
  await accounts.query({ email: 'ABC@Example.com', firstName: 'Eric' }, 10, '123456789')
  await accounts.query({ lastName: 'Chen' }, 20)
  t.same(await accounts.query({ email: 'nonsense' }, 10), [])
  t.same(store.queries, [
    [{ firstName: 'Eric', emailKey: 'abc@example.com' }, 10, '123456789'],
    [{ lastName: 'Chen' }, 20, undefined],
  ])
})

t.test('the existence of an account is looked up once and cached', async t => {
  const { accounts, store } = setUp()
  const { id } = await accounts.register(WHOLE)
  t.equal(accounts.isKnown(id), false)
  t.same(await Promise.all([accounts.exists(id), accounts.exists(id), accounts.exists(id)]), [
    true,
    true,
    true,
  ])
  t.equal(store.lookups, 1)
  t.equal(accounts.isKnown(id), true)
  t.equal(await accounts.exists('100000000'), false)
  t.equal(accounts.isKnown('100000000'), false, 'one who is not there may come')
  for (const id of ['', '012345678', '1234567890', 'nonsense']) t.equal(await accounts.exists(id), false)
  t.equal(store.lookups, 2, 'what is no id is not looked up')
})

t.test('a failed look-up is tried again', async t => {
  const { accounts, store } = setUp()
  const { id } = await accounts.register(WHOLE)
  const { findUser } = store
  store.findUser = () => Promise.reject(new GatewayError('STORE_UNAVAILABLE'))
  await t.rejects(accounts.exists(id), ofKind('STORE_UNAVAILABLE'))
  store.findUser = findUser
  t.equal(await accounts.exists(id), true)
})

t.test('a deleted account is unknown from the beginning of its deletion', async t => {
  const { accounts, store } = setUp()
  const { id } = await accounts.register(WHOLE)
  await accounts.exists(id)
  await t.rejects(accounts.confirm(id, 'wrong'), ofKind('ERROR_AUTH'))
  t.equal(accounts.isKnown(id), true)
  store.held = []
  const deleting = accounts.remove(id)
  while (store.users.has(id)) await new Promise(resolve => setImmediate(resolve))
  t.equal(accounts.isKnown(id), false)
  for (const go of store.held) go()
  await deleting
  store.held = undefined
  t.equal(await accounts.exists(id), false)
})

t.test('a look-up during the deletion does not make the account known again', async t => {
  const { accounts, store } = setUp()
  const { id } = await accounts.register(WHOLE)
  store.held = []
  const looking = accounts.exists(id)
  const [answerLookup] = store.held
  store.held = undefined
  await accounts.remove(id)
  answerLookup?.()
  await looking
  t.equal(accounts.isKnown(id), false)
})

t.test('the first login after the cost was raised renews the hash, and the password stays', async t => {
  const { accounts, store } = setUp()
  const { id, email } = await accounts.register(WHOLE)
  const before = store.users.get(id)?.passwordHash
  const dearer = new Passwords({ cost: 5, concurrency: 2, queue: 100 })
  t.teardown(() => dearer.close())
  const later = new Accounts(store as unknown as Users, dearer)
  await t.rejects(later.authenticate(email, 'wrong'), ofKind('ERROR_AUTH'))
  t.equal(store.users.get(id)?.passwordHash, before, 'a wrong password changes nothing')
  const hashed = new Promise<void>(resolve => {
    store.hashed = resolve
  })
  await later.authenticate(email, 'p')
  await hashed
  const after = store.users.get(id)?.passwordHash
  t.match(after, /^\$2b\$05\$/)
  await later.authenticate(email, 'p')
  t.equal(store.users.get(id)?.passwordHash, after)
})

t.test('renewing a hash does not undo a concurrent change of the password', async t => {
  const { accounts, store } = setUp()
  const { id, email } = await accounts.register(WHOLE)
  const dearer = new Passwords({ cost: 5, concurrency: 2, queue: 100 })
  t.teardown(() => dearer.close())
  const later = new Accounts(store as unknown as Users, dearer)
  const change = { password: 'p', newPassword: 'new', endSessions: async () => undefined }
  await later.authenticate(email, 'p')
  await later.changePassword(id, change)
  t.equal((await later.authenticate(email, 'new')).id, id)
  await t.rejects(later.authenticate(email, 'p'), ofKind('ERROR_AUTH'))
})
