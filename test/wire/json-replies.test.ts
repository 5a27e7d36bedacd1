import t, { type Test } from 'tap'
import { CODES, type CodeName, type Locale } from '../../src/core/errors.js'
import {
  type JsonClient,
  jsonClient,
  loggedIn,
  type RunningGateway,
  register,
  startGateway,
} from '../helpers/gateway.js'

/** Makes the gateway say as many of its codes as a client can bring about. */
async function provoke(client: JsonClient, email: string): Promise<void> {
  const whole = { email, password: 'p', firstName: 'f', lastName: 'l' }
  const requests = [
    { type: 'broadcast', data: { content: 'x' } },
    { type: 'action', action: 'register', data: whole },
    { type: 'action', action: 'register', data: whole },
    { type: 'action', action: 'login' },
    { type: 'action', action: 'login', data: { email, password: 'p' } },
    { type: 'action', action: 'login' },
    { type: 'action', action: 'query' },
    { type: 'broadcast', data: { content: 'x' } },
    { type: 'message', data: { recipient: '100000000', content: 'x' } },
    { type: 'message', data: { recipient: '100000000', content: 'x'.repeat(70_000) } },
    { type: 'action', action: 'ack', data: { seq: 1 } },
    { type: 'nonsense' },
    { type: 'message' },
    'nonsense',
  ]
  for (const request of requests) client.send(request)
}

const PROVOKED: CodeName[] = [
  'ERROR_UNAUTHORIZED',
  'REGISTER_SUCCESS',
  'ERROR_EXIST_USER',
  'ERROR_AUTH',
  'LOGIN_SUCCESS',
  'ERROR_MULTIPLE_LOGIN',
  'SUCCESS',
  'BROADCAST_SUCCESS',
  'ERROR_FIND_USER',
  'TOO_LARGE',
  'FORBIDDEN',
  'UNKNOWN_REQUEST',
  'BAD_FIELD',
  'BAD_JSON',
]

let people = 0

async function speaks(t: Test, gateway: RunningGateway, path: string, locale: Locale): Promise<void> {
  const client = await jsonClient(t, gateway, path)
  await provoke(client, `someone${++people}@example.com`)
  for (const name of PROVOKED) {
    const text = await client.nextText()
    const reply = JSON.parse(text)
    t.strictSame(Object.keys(reply), ['code', 'msg', 'data'], name)
    t.equal(reply.code, CODES[name].code)
    t.equal(reply.msg, CODES[name][locale], `${path} ${name}`)
    t.ok(text.startsWith(`{"code":${reply.code},"msg":"${reply.msg}","data":`), 'in this order')
    t.ok(Array.isArray(reply.data) === (name === 'SUCCESS'), 'an array is a list of users and nothing else')
  }
}

t.test(
  'replies have exactly three members; the default language is zh-TW, a connection may ask for the other',
  async t => {
    const gateway = await startGateway(t)
    await speaks(t, gateway, '/', 'zh-TW')
    await speaks(t, gateway, '/?lang=en', 'en')
    await speaks(t, gateway, '/?lang=zh-TW', 'zh-TW')
    await speaks(t, gateway, '/?lang=fr', 'zh-TW')
    await speaks(t, gateway, '/?x=1&lang=en', 'en')
  },
)

t.test('config locale is the language of those who ask for none', async t => {
  const gateway = await startGateway(t, { locale: 'en' })
  await speaks(t, gateway, '/', 'en')
  await speaks(t, gateway, '/?lang=zh-TW', 'zh-TW')
})

t.test('two connections with different languages do not mix', async t => {
  const gateway = await startGateway(t)
  const [en, zh] = [await jsonClient(t, gateway, '/?lang=en'), await jsonClient(t, gateway)]
  for (let i = 0; i < 3; i++) {
    t.equal((await en.action('login')).msg, 'wrong email or password')
    t.equal((await zh.action('login')).msg, '使用者名稱或密碼錯誤')
  }
})

t.test('the goodbyes speak the connection’s language, too', async t => {
  const gateway = await startGateway(t, { 'sessions.multiple': 'replace', 'limits.refusals': 1 })
  const { email, password } = await register(t, gateway)
  const first = await jsonClient(t, gateway, '/?lang=en')
  await first.action('login', { email, password })
  await loggedIn(t, gateway, { email, password, id: '' })
  t.strictSame(await first.next(), { code: 10009, msg: 'connection closed', data: null })
  const bad = await jsonClient(t, gateway, '/?lang=en')
  bad.send('nonsense')
  await bad.next()
  t.strictSame(await bad.next(), { code: 10108, msg: 'too many errors', data: null })
})
