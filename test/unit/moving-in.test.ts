/** Accounts of the old server in ours: what is stored of them, and what a login makes of it. */
import { join } from 'node:path'
import t from 'tap'
import { Accounts } from '../../src/accounts/accounts.js'
import { MovingIn } from '../../src/accounts/moving-in.js'
import { Passwords } from '../../src/accounts/passwords.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'
import { oldHash } from '../helpers/old-server.js'

const ERIC = {
  ...{ id: '289559048', email: 'Abc@example.com', username: 'eric', firstName: '', lastName: 'Chen' },
  ...{ profileImage: 'a.png', key: 'K', passwordHash: oldHash('p@ssw0rd') },
}

t.test('an account keeps what it had; the first login replaces the hash, and others do not', async t => {
  const store = new EmbeddedStore({ dir: join(dataDir(t), 'store'), durability: 'commit', dedupWindowMs: 0 })
  await store.open()
  const passwords = new Passwords({ cost: 4, concurrency: 1, queue: 9 })
  t.teardown(async () => {
    await passwords.close()
    await store.close()
  })
  const { users } = store
  const movingIn = new MovingIn(users, passwords)
  const accounts = new Accounts(users, passwords)
  t.equal(await movingIn.take(ERIC, true), true)
  t.equal(await accounts.find(ERIC.id), undefined, 'dry')
  t.equal(await movingIn.take(ERIC, false), true)
  const { passwordHash, ...kept } = ERIC
  t.match(await accounts.find('abc@EXAMPLE.com'), kept)
  const hash = () => {
    let found = ''
    const keep = async (one: string) => {
      found = one
      return true
    }
    return users.checkPassword(ERIC.id, keep).then(() => found)
  }
  t.match(await hash(), /^mumichat:\$2b\$/)
  await t.rejects(accounts.authenticate(ERIC.email, passwordHash), ofKind('ERROR_AUTH'))
  t.match(await hash(), /^mumichat:/, 'a wrong password replaces nothing')
  const replaced = new Promise(resolve => {
    const set = users.setPasswordHash.bind(users)
    users.setPasswordHash = (id, one) => set(id, one).finally(() => resolve(one))
  })
  t.match(await accounts.authenticate(ERIC.email, 'p@ssw0rd'), { id: ERIC.id })
  await replaced
  t.match(await hash(), /^\$2b\$04\$/)
  t.match(await accounts.authenticate(ERIC.id, 'p@ssw0rd'), { id: ERIC.id })
  t.equal(await movingIn.take(ERIC, false), false, 'there already')
  t.match(await hash(), /^\$2b\$04\$/, 'and left as it is')
  for (const [field, other] of [
    ['id', { email: 'other@example.com', username: '' }],
    ['email', { id: '289559049', username: '' }],
    ['username', { id: '289559049', email: 'other@example.com' }],
  ] as const)
    for (const isDry of [true, false])
      await t.rejects(
        movingIn.take({ ...ERIC, ...other }, isDry),
        ofKind('ERROR_EXIST_USER', { info: { field } }),
      )
  await accounts.remove(ERIC.id)
  await t.rejects(
    movingIn.take(ERIC, false),
    ofKind('ERROR_EXIST_USER', { info: { field: 'id' } }),
    'ids of deleted accounts stay taken',
  )
})
