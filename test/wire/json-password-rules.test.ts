import t, { type Test } from 'tap'
import { jsonClient, loggedIn, type RunningGateway, register, startGateway } from '../helpers/gateway.js'

const shipped = await startGateway(t)
const strict = await startGateway(t, { 'passwords.minLength': 8, 'passwords.common': 'refuse' })

let emails = 0

async function registering(t: Test, gateway: RunningGateway, password: string) {
  const client = await jsonClient(t, gateway)
  const names = { firstName: 'First', lastName: 'Last' }
  return client.action('register', { email: `rule${++emails}@example.com`, password, ...names })
}

const refusal = (reason: RegExp) => ({ code: 10101, data: { field: 'password', reason } })

t.test('as shipped, old clients register with what they have', async t => {
  for (const password of ['p', 'password', '123456', '密'])
    t.match(await registering(t, shipped, password), { code: 203 })
})

t.test('a password under the minimum is refused, counted in characters and not in bytes', async t => {
  for (const password of ['1234567', 'short', '\u{1F600}'.repeat(7), 'e\u0301'.repeat(7)])
    t.match(await registering(t, strict, password), refusal(/^shorter than 8/), password)
  for (const password of ['correct horse', '密碼密碼密碼密碼', '\u{1F600}'.repeat(8)])
    t.match(await registering(t, strict, password), { code: 203 }, password)
})

t.test('one of the most common passwords is refused, in any case', async t => {
  for (const password of ['password', 'PassWord', '12345678', 'iloveyou'])
    t.match(await registering(t, strict, password), refusal(/common/), password)
})

t.test('control characters are refused', async t => {
  for (const password of ['a\tb', 'a\u001bb', 'a\u0085b'])
    t.match(await registering(t, shipped, password), refusal(/control/))
})

t.test('a changed password is judged alike, and one that is in use is judged by nobody', async t => {
  const dir = strict.dir
  await strict.close()
  const lax = await startGateway(t, { 'data.dir': dir })
  const account = { ...(await register(t, lax)), password: 'p' }
  const owner = await loggedIn(t, lax, { ...account, password: 'correct horse' })
  t.match(await owner.action('password', { password: 'correct horse', newPassword: 'p' }), { code: 200 })
  await lax.close()
  const again = await startGateway(t, { 'data.dir': dir, 'passwords.minLength': 8 })
  const client = await loggedIn(t, again, account)
  const reply = await client.action('password', { password: 'p', newPassword: 'shorter' })
  t.match(reply, { code: 10101, data: { field: 'newPassword' } })
})

t.test('spaces and composition do not matter: the same password from another keyboard logs in', async t => {
  const client = await jsonClient(t, shipped)
  const names = { firstName: 'First', lastName: 'Last' }
  const account = { email: 'space@example.com', password: 'mu\u0308ller \u3000\u00a0x' }
  await client.action('register', { ...account, ...names })
  t.match(await client.action('login', { ...account, password: 'm\u00fcller   x' }), { code: 202 })
})
