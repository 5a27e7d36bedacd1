import t from 'tap'
import { CODES, type CodeName } from '../../src/core/errors.js'
import {
  encodeEvent,
  encodeGreeting,
  encodeMessage,
  encodeMqttMessage,
  encodeReply,
  encodeUser,
  extendMessage,
  formatTime,
} from '../../src/protocol/replies.js'

const AT = Date.UTC(2019, 6, 15, 9, 28, 10, 999)
const ID = '0190b5a0-0000-7000-8000-000000000000'

t.test('a reply is code, msg, data and, where the request had one, id', async t => {
  t.equal(encodeReply('MESSAGE_SUCCESS', 'zh-TW'), '{"code":201,"msg":"訊息發送成功","data":null}')
  t.equal(encodeReply('MESSAGE_SUCCESS', 'en'), '{"code":201,"msg":"message sent","data":null}')
  t.equal(encodeReply('SUCCESS', 'en', []), '{"code":200,"msg":"success","data":[]}')
  t.equal(
    encodeReply('BAD_FIELD', 'en', { field: 'email', reason: 'is missing' }, 'a"b'),
    '{"code":10101,"msg":"bad field","data":{"field":"email","reason":"is missing"},"id":"a\\"b"}',
  )
  t.equal(encodeReply('SUCCESS', 'en', null, 'x'), '{"code":200,"msg":"success","data":null,"id":"x"}')
  t.equal(
    encodeReply('SUCCESS', 'en'),
    '{"code":200,"msg":"success","data":null}',
    'the one with an id leaves nothing behind',
  )
})

t.test('only the greeting has a top-level key', async t => {
  t.equal(encodeGreeting('24AB50C2'), '{"key":"24AB50C2"}')
  for (const name of Object.keys(CODES) as CodeName[]) t.notOk('key' in JSON.parse(encodeReply(name, 'en')))
})

t.test('time is UTC in whole seconds, whatever was formatted before', async t => {
  t.equal(formatTime(AT), '2019-07-15T09:28:10Z')
  t.equal(formatTime(AT + 1), '2019-07-15T09:28:11Z')
  t.equal(formatTime(AT - 999), '2019-07-15T09:28:10Z')
  t.equal(formatTime(0), '1970-01-01T00:00:00Z')
  t.equal(formatTime(Date.UTC(2024, 1, 29, 23, 59, 59, 999)), '2024-02-29T23:59:59Z')
})

t.test('a message has exactly four members, a broadcast three', async t => {
  t.equal(
    encodeMessage('271693512', '289559048', 'hello', AT),
    '{"sender":"271693512","recipient":"289559048","content":"hello","created_at":"2019-07-15T09:28:10Z"}',
  )
  t.equal(
    encodeMessage('271693512', undefined, 'hello', AT),
    '{"sender":"271693512","content":"hello","created_at":"2019-07-15T09:28:10Z"}',
  )
})

t.test('id and seq stand behind the four for JSON, before them for MQTT', async t => {
  const row = { seq: 7, id: ID, text: encodeMessage('1', '2', 'x', AT) }
  t.same(Object.keys(JSON.parse(extendMessage(row))), [
    'sender',
    'recipient',
    'content',
    'created_at',
    'id',
    'seq',
  ])
  t.same(Object.keys(JSON.parse(encodeMqttMessage(row))), [
    'id',
    'seq',
    'sender',
    'recipient',
    'content',
    'created_at',
  ])
  t.match(JSON.parse(extendMessage(row)), { id: ID, seq: 7 })
})

t.test('content of any kind survives the way through JSON', async t => {
  const contents = [
    '"',
    '\\',
    '\n\r\t\b\f',
    '\u0001\u001f\u007f',
    '\u2028\u2029',
    '</script>',
    '🦊',
    '{"a":1}',
    '","sender":"evil',
  ]
  for (const content of contents) {
    const message = JSON.parse(encodeMessage('1', '2', content, AT))
    t.strictSame(message, { sender: '1', recipient: '2', content, created_at: '2019-07-15T09:28:10Z' })
  }
})

t.test('an event has its kind and its data', async t => {
  t.equal(encodeEvent('dropped', { from: 1, to: 3 }), '{"event":"dropped","data":{"from":1,"to":3}}')
})

t.test('a user has nine members in order, an empty password, and nothing of the store’s own', async t => {
  const user = {
    id: '289559048',
    email: 'Abc@Example.com',
    emailKey: 'abc@example.com',
    username: '',
    firstName: 'Eric',
    lastName: 'Chen',
    profileImage: '',
    key: '',
    createdAt: AT,
    passwordHash: 'secret',
  }
  t.equal(
    JSON.stringify(encodeUser(user, true)),
    '{"id":"289559048","username":"","email":"Abc@Example.com","password":"","firstName":"Eric","lastName":"Chen","profileImage":"","key":"","isLogin":true}',
  )
})
