import t from 'tap'
import { dataDir, jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'

const gateway = await startGateway(t)
const NAMES = { firstName: 'Eric', lastName: 'Chen' }

t.test('register, then login: 203 and 202 with no data', async t => {
  const client = await jsonClient(t, gateway)
  const account = { email: 'abc@example.com', password: 'p@ssw0rd' }
  t.strictSame(await client.action('register', { ...account, ...NAMES }), {
    code: 203,
    msg: '註冊成功',
    data: null,
  })
  t.strictSame(await client.action('login', account), { code: 202, msg: '登入成功', data: null })
})

t.test('registering does not log in', async t => {
  const client = await jsonClient(t, gateway)
  await client.action('register', { email: 'notyet@example.com', password: 'p', ...NAMES })
  t.match(await client.ask({ type: 'broadcast', data: { content: 'x' } }), { code: 10007 })
})

t.test('each of the four fields is required: the refusal names the one that is absent or empty', async t => {
  const client = await jsonClient(t, gateway)
  const whole = { email: 'whole@example.com', password: 'p', ...NAMES }
  for (const field of Object.keys(whole)) {
    const { [field]: _, ...without } = whole as Record<string, string>
    t.match(await client.action('register', without), { code: 10101, data: { field } }, `${field} absent`)
    t.match(
      await client.action('register', { ...whole, [field]: '' }),
      { code: 10101, data: { field } },
      `${field} empty`,
    )
  }
  t.match(await client.action('register', whole), { code: 203 })
})

t.test('what is no email address is refused', async t => {
  const client = await jsonClient(t, gateway)
  const addresses = [
    'no-at',
    '@example.com',
    'a@',
    'a b@example.com',
    'a@exa mple.com',
    'Eric <a@b.example>',
    'a@b',
    'a@b@c.example',
  ]
  for (const email of [...addresses, `${'a'.repeat(65)}@example.com`]) {
    t.match(
      await client.action('register', { email, password: 'p', ...NAMES }),
      { code: 10101, data: { field: 'email' } },
      email,
    )
  }
  t.match(
    await client.action('register', { email: `a@${'b'.repeat(400)}.example`, password: 'p', ...NAMES }),
    { code: 10103, data: { field: 'email' } },
  )
})

t.test('an email is taken in every spelling of it', async t => {
  const client = await jsonClient(t, gateway)
  const ask = async (email: string) =>
    (await client.action('register', { email, password: 'p', ...NAMES })).code
  t.equal(await ask('Zoe.Müller@Bücher.Example'), 203)
  t.equal(await ask('Zoe.Müller@Bücher.Example'), 10003, 'the same')
  t.equal(await ask('zoe.müller@bücher.example'), 10003, 'in lower case')
  t.equal(await ask('ZOE.MÜLLER@BÜCHER.EXAMPLE'), 10003, 'in upper case')
  t.equal(await ask('zoe.müller@xn--bcher-kva.example'), 10003, 'with the domain as ASCII')
  t.equal(await ask('zoe.mu\u0308ller@bu\u0308cher.example'), 10003, 'decomposed')
  t.equal(await ask('zoe.muller@bücher.example'), 203, 'another name is another address')
})

t.test('the refusal of a taken email does not tell whose it is', async t => {
  const { email } = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  const reply = await client.action('register', { email, password: 'p', ...NAMES })
  t.equal(reply.code, 10003)
  t.notMatch(JSON.stringify(reply), email)
})

t.test('of many racing registers of one email exactly one gets it', async t => {
  const clients = await Promise.all(Array.from({ length: 8 }, () => jsonClient(t, gateway)))
  const replies = await Promise.all(
    clients.map((client, i) =>
      client.action('register', {
        email: i % 2 ? 'race@example.com' : 'RACE@example.com',
        password: 'p',
        ...NAMES,
      }),
    ),
  )
  t.same(replies.map(reply => reply.code).sort(), [203, ...Array(7).fill(10003)].sort())
})

t.test('login with any spelling of the email', async t => {
  await register(t, gateway, 'Anna@Bücher.example')
  for (const email of ['anna@bücher.example', 'ANNA@xn--bcher-kva.EXAMPLE', 'Anna@Bücher.example']) {
    const client = await jsonClient(t, gateway)
    t.match(await client.action('login', { email, password: 'correct horse' }), { code: 202 }, email)
    await client.close()
  }
})

t.test('wrong, absent and empty credentials all get the same 10000', async t => {
  const { email, password } = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  const attempts = [
    undefined,
    {},
    { email },
    { password },
    { email: '', password: '' },
    { email, password: '' },
    { email: '', password },
    { email, password: 'wrong' },
    { email, password: ` ${password}` },
    { email, password: password.toUpperCase() },
    { email: 'nobody@example.com', password },
    { email: 'not an address', password },
  ]
  for (const data of attempts) {
    const reply = await client.action('login', data)
    t.strictSame(reply, { code: 10000, msg: '使用者名稱或密碼錯誤', data: null }, JSON.stringify(data))
  }
  t.match(
    await client.action('login', { email, password }),
    { code: 202 },
    'and the connection is as good as before',
  )
})

t.test('a second login on the same connection is 10005, whoever it names', async t => {
  const account = await register(t, gateway)
  const { email, password } = account
  const other = await register(t, gateway)
  const client = await loggedIn(t, gateway, account)
  const expected = { code: 10005, msg: '使用者已在其他地方登入', data: null }
  t.strictSame(await client.action('login', { email, password }), expected)
  t.strictSame(await client.action('login', { email: other.email, password: other.password }), expected)
  t.strictSame(await client.action('login', { email: other.email, password: 'wrong' }), expected)
  t.match(await client.ask({ type: 'message', data: { recipient: account.id, content: 'me' } }), {
    code: 201,
  })
  t.match(await client.next(), { sender: account.id }, 'it is still the first account')
})

t.test('every byte of a password counts, also after the 72nd and beside characters beyond ASCII', async t => {
  const client = await jsonClient(t, gateway)
  const base = '密碼'.repeat(100)
  await client.action('register', { email: 'long@example.com', password: `${base}a`, ...NAMES })
  t.match(await client.action('login', { email: 'long@example.com', password: `${base}b` }), {
    code: 10000,
  })
  t.match(await client.action('login', { email: 'long@example.com', password: base.slice(0, 72) }), {
    code: 10000,
  })
  t.match(await client.action('login', { email: 'long@example.com', password: `${base}a` }), { code: 202 })
})

t.test('names of any script come back as they were given', async t => {
  const client = await jsonClient(t, gateway)
  const names = { firstName: '美 "雪"\\', lastName: 'O’Brien 🦊\n' }
  await client.action('register', { email: 'script@example.com', password: 'p', ...names })
  t.match(await client.action('query', { email: 'script@example.com' }), { data: [names] })
})

t.test('accounts are there after a restart, and emails still taken', async t => {
  const dir = dataDir(t)
  const first = await startGateway(t, { 'data.dir': dir })
  const { email, password } = await register(t, first)
  await first.close()
  const second = await startGateway(t, { 'data.dir': dir })
  const client = await jsonClient(t, second)
  t.match(await client.action('register', { email, password: 'p', ...NAMES }), { code: 10003 })
  t.match(await client.action('login', { email, password }), { code: 202 })
})

t.test('user ids are nine digits, the first not 0, and all different', async t => {
  const accounts = await Promise.all(Array.from({ length: 20 }, () => register(t, gateway)))
  for (const { id } of accounts) t.match(id, /^[1-9][0-9]{8}$/)
  t.equal(new Set(accounts.map(({ id }) => id)).size, accounts.length)
})
