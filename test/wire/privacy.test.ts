import t from 'tap'
import { dataDir, jsonClient, loggedIn, type Reply, register, startGateway } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'

const users = (reply: Reply) => reply.data as { id: string; email: string; isLogin: boolean }[]

t.test(
  'by default, anyone can look up an account by its address, and a logged-in user lists all',
  async t => {
    const gateway = await startGateway(t)
    const ann = await loggedIn(t, gateway, await register(t, gateway, 'Ann@example.com'))
    const anonymous = await jsonClient(t, gateway)
    const found = users(await anonymous.action('query', { email: 'ann@example.com' }))
    t.match(found, [{ id: ann.userId, email: 'Ann@example.com', isLogin: true }])
    t.match(await anonymous.action('query', {}), { code: 10007 })
    const bob = await loggedIn(t, gateway)
    t.equal(users(await bob.action('query', {})).length, 2)
  },
)

t.test(
  'privacy.email and privacy.presence: `users` hides from clients without a login, `self` from all others',
  async t => {
    for (const to of ['users', 'self'] as const) {
      const gateway = await startGateway(t, { 'privacy.email': to, 'privacy.presence': to })
      const account = await register(t, gateway)
      const { email } = account
      const ann = await loggedIn(t, gateway, account)
      const bob = await loggedIn(t, gateway)
      const anonymous = await jsonClient(t, gateway)
      const hidden = { id: ann.userId, email: '', isLogin: false }
      const shown = { id: ann.userId, email, isLogin: true }
      t.match(users(await anonymous.action('query', { email })), [hidden])
      t.match(users(await bob.action('query', { email })), [to === 'self' ? hidden : shown])
      t.match(users(await ann.action('query', { email })), [shown])
    }
  },
)

t.test(
  'privacy.presence self: the presence topics are one’s own only, also by wildcard and in restored sessions',
  async t => {
    const dir = dataDir(t)
    const open = await startGateway(t, { 'data.dir': dir })
    const [ann, bob] = [await register(t, open), await register(t, open)]
    const options = { account: ann, clientId: 'd', clean: false }
    const before = await rawConnect(t, open, options)
    t.same(await before.subscribe('users/+/presence'), [1])
    await before.disconnect()
    await open.close()
    const closed = await startGateway(t, { 'data.dir': dir, 'privacy.presence': 'self' })
    const device = await rawConnect(t, closed, options)
    const filters = ['users/+/presence', `users/${bob.id}/presence`, `users/${ann.id}/presence`]
    t.same(await device.subscribe(filters), [0x80, 0x80, 1])
    t.match(await device.take('publish'), { topic: `users/${ann.id}/presence` })
    await loggedIn(t, closed, bob)
    device.send({ cmd: 'pingreq' })
    await device.take('pingresp')
    t.same(device.unread, [])
  },
)

t.test('privacy.listing admins: others find themselves when they list, and whom they name', async t => {
  const dir = dataDir(t)
  const first = await startGateway(t, { 'data.dir': dir })
  const [ann, bob] = [await register(t, first), await register(t, first)]
  await first.close()
  const gateway = await startGateway(t, {
    'data.dir': dir,
    'privacy.listing': 'admins',
    'query.anonymous': 'all',
    'roles.admins': bob.id,
  })
  const anonymous = await jsonClient(t, gateway)
  t.match(await anonymous.action('query', {}), { code: 10007 }, 'no more than a user may')
  t.match(users(await anonymous.action('query', { id: bob.id })), [{ id: bob.id }])
  const user = await loggedIn(t, gateway, ann)
  for (const data of [{}, { firstName: 'First' }])
    t.same(
      users(await user.action('query', data)).map(({ id }) => id),
      [ann.id],
    )
  t.match(users(await user.action('query', { id: bob.id })), [{ id: bob.id }])
  const admin = await loggedIn(t, gateway, bob)
  t.equal(users(await admin.action('query', {})).length, 2)
})

t.test('a wrong password and an unknown address get the same answer', async t => {
  const gateway = await startGateway(t)
  const { email } = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  const wrong = await client.action('login', { email, password: 'wrong' })
  t.same(await client.action('login', { email: 'nobody@example.com', password: 'wrong' }), wrong)
  t.same(await client.action('login', { email: 'no address', password: 'wrong' }), wrong)
})
