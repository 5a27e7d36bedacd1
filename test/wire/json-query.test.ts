import t from 'tap'
import { jsonClient, loggedIn, type Reply, register, startGateway } from '../helpers/gateway.js'

interface UserReply {
  readonly id: string
  readonly email: string
  readonly isLogin: boolean
}
const usersOf = (reply: Reply) => reply.data as UserReply[]
const emailsOf = (reply: Reply) => usersOf(reply).map(({ email }) => email)

t.test('a user has exactly nine members, in their order, and never a password', async t => {
  const gateway = await startGateway(t)
  const { id } = await register(t, gateway, 'abc@example.com')
  const client = await jsonClient(t, gateway)
  client.send({ type: 'action', action: 'query', data: { email: 'abc@example.com' } })
  t.equal(
    await client.nextText(),
    `{"code":200,"msg":"操作成功","data":[{"id":"${id}","username":"","email":"abc@example.com","password":"","firstName":"First","lastName":"Last","profileImage":"","key":"","isLogin":false}]}`,
  )
})

t.test('an email is found by every spelling and comes back as it was registered', async t => {
  const gateway = await startGateway(t)
  await register(t, gateway, 'Anna.Maria@Bücher.example')
  const client = await jsonClient(t, gateway)
  for (const email of [
    'anna.maria@bücher.example',
    'ANNA.MARIA@XN--BCHER-KVA.EXAMPLE',
    'Anna.Maria@Bücher.example',
  ]) {
    t.same(emailsOf(await client.action('query', { email })), ['Anna.Maria@Bücher.example'], email)
  }
})

t.test('no match is an empty array', async t => {
  const gateway = await startGateway(t)
  const client = await loggedIn(t, gateway)
  const conditions = [
    { email: 'nobody@example.com' },
    { email: 'not an address' },
    { id: '100000000' },
    { id: '1' },
    { id: 'constructor' },
    { username: 'nobody' },
    { firstName: 'nobody' },
    { firstName: 'first' },
    { lastName: 'Las' },
  ]
  for (const data of conditions) {
    t.strictSame(
      await client.action('query', data),
      { code: 200, msg: '操作成功', data: [] },
      JSON.stringify(data),
    )
  }
})

t.test('all given conditions must match; an empty string counts as not given', async t => {
  const gateway = await startGateway(t)
  const anonymous = await jsonClient(t, gateway)
  const people = [
    { email: 'a@example.com', firstName: 'Eric', lastName: 'Chen', username: 'eric' },
    { email: 'b@example.com', firstName: 'Eric', lastName: 'Wang' },
    { email: 'c@example.com', firstName: 'Mei', lastName: 'Chen' },
  ]
  for (const person of people) await anonymous.action('register', { ...person, password: 'correct horse' })
  const client = await loggedIn(t, gateway, { email: 'a@example.com', password: 'correct horse', id: '' })
  const ask = async (data: Record<string, string>) => emailsOf(await client.action('query', data))
  t.same(await ask({ firstName: 'Eric' }), ['a@example.com', 'b@example.com'])
  t.same(await ask({ firstName: 'Eric', lastName: 'Chen' }), ['a@example.com'])
  t.same(await ask({ firstName: 'Eric', lastName: '', email: '', id: '', username: '', after: '' }), [
    'a@example.com',
    'b@example.com',
  ])
  t.same(await ask({ email: 'b@example.com', lastName: 'Chen' }), [])
  t.same(await ask({ username: 'eric' }), ['a@example.com'])
  t.same(await ask({ username: 'eric', firstName: 'Mei' }), [])
  const [mei] = usersOf(await client.action('query', { firstName: 'Mei' }))
  t.same(await ask({ id: mei?.id ?? '' }), ['c@example.com'])
  t.same(await ask({ id: mei?.id ?? '', email: 'a@example.com' }), [])
  t.same(await ask({ firstName: '', lastName: '', email: '' }), [
    'a@example.com',
    'b@example.com',
    'c@example.com',
  ])
})

t.test('{} and an absent or null data list all users, oldest account first', async t => {
  const gateway = await startGateway(t)
  const emails = ['zoe@example.com', 'mia@example.com', 'adam@example.com', 'ben@example.com']
  for (const email of emails) await register(t, gateway, email)
  const client = await loggedIn(t, gateway)
  for (const data of [{}, undefined, null]) {
    t.same(emailsOf(await client.action('query', data)).slice(0, -1), emails, JSON.stringify(data))
  }
})

t.test('a page has query.limit users, and after asks for the next', async t => {
  const gateway = await startGateway(t, { 'query.limit': 3 })
  const ids: string[] = []
  for (let i = 0; i < 6; i++) ids.push((await register(t, gateway)).id)
  const client = await loggedIn(t, gateway)
  ids.push(client.userId)
  const page = async (data: Record<string, string>) =>
    usersOf(await client.action('query', data)).map(({ id }) => id)
  t.same(await page({}), ids.slice(0, 3))
  t.same(await page({ after: ids[2] ?? '' }), ids.slice(3, 6))
  t.same(await page({ after: ids[5] ?? '' }), ids.slice(6))
  t.same(await page({ after: ids[6] ?? '' }), [])
  t.same(await page({ after: ids[0] ?? '', firstName: 'First' }), ids.slice(1, 4), 'with a condition, too')
  t.same(await page({ after: ids[3] ?? '', id: ids[1] ?? '' }), [], 'a user before the page is not on it')
  t.match(await client.action('query', { after: '999999999' }), { code: 10101, data: { field: 'after' } })
  t.match(await client.action('query', { after: 'x' }), { code: 10101, data: { field: 'after' } })
})

t.test('paging goes on behind an account that has been deleted meanwhile', async t => {
  const gateway = await startGateway(t, { 'query.limit': 2 })
  const ids: string[] = []
  const leaving = await loggedIn(t, gateway)
  for (let i = 0; i < 2; i++) ids.push((await register(t, gateway)).id)
  const client = await loggedIn(t, gateway)
  await leaving.action('delete', { password: 'correct horse' })
  const reply = await client.action('query', { after: leaving.userId })
  t.same(
    usersOf(reply).map(({ id }) => id),
    ids,
  )
})

t.test('isLogin is a boolean that follows the connection', async t => {
  const gateway = await startGateway(t)
  const account = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  const isLogin = async () => usersOf(await client.action('query', { email: account.email }))[0]?.isLogin
  t.equal(await isLogin(), false)
  const live = await loggedIn(t, gateway, account)
  t.equal(await isLogin(), true)
  await live.close()
  // The server has the closing handshake behind it when the client has, not its own 'close' event.
  await loggedIn(t, gateway, account).then(again => again.close())
  t.equal(await isLogin(), false)
})

t.test('before login, only a query that names an email is answered', async t => {
  const client = await jsonClient(t, await startGateway(t))
  const refused = { code: 10007, msg: '請先進行登入', data: null }
  for (const data of [
    {},
    undefined,
    { email: '' },
    { firstName: 'First' },
    { id: '123456789' },
    { username: 'x' },
  ]) {
    t.strictSame(await client.action('query', data), refused, JSON.stringify(data))
  }
  t.match(await client.action('query', { email: 'a@b.example' }), { code: 200, data: [] })
  t.match(await client.action('query', { email: 'a@b.example', firstName: 'x' }), { code: 200, data: [] })
})

t.test('query.anonymous = none answers nothing before login', async t => {
  const gateway = await startGateway(t, { 'query.anonymous': 'none' })
  const client = await jsonClient(t, gateway)
  t.match(await client.action('query', { email: 'a@b.example' }), { code: 10007 })
  t.match(await client.action('query', {}), { code: 10007 })
  t.match(await (await loggedIn(t, gateway)).action('query', {}), { code: 200 })
})

t.test('query.anonymous = all answers everything before login', async t => {
  const gateway = await startGateway(t, { 'query.anonymous': 'all' })
  const { email } = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  t.same(emailsOf(await client.action('query', {})), [email])
  t.same(emailsOf(await client.action('query', { firstName: 'First' })), [email])
})

t.test('a mistyped condition is refused, never a wider query', async t => {
  const gateway = await startGateway(t, { 'request.unknownFields': 'ignore' })
  const client = await loggedIn(t, gateway)
  t.match(await client.action('query', { firstname: 'x' }), { code: 10101, data: { field: 'firstname' } })
  t.match(await client.action('query', { id: 123456789 }), { code: 10101, data: { field: 'id' } })
  t.match(await client.action('query', { email: null }), { code: 10101, data: { field: 'email' } })
  t.match(await client.action('query', []), { code: 10101, data: { field: 'data' } })
})
