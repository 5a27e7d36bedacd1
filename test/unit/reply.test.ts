import t from 'tap'
import { CODES, type CodeName } from '../../src/core/errors.js'
import { encodeEvent, encodeGreeting, encodeReply, encodeUser } from '../../src/protocol/replies.js'

const AT = Date.UTC(2019, 6, 15, 9, 28, 10, 999)

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

t.test('an event has its kind and its data', async t => {
  t.equal(encodeEvent('dropped', { from: 1, to: 3 }), '{"event":"dropped","data":{"from":1,"to":3}}')
})

t.test('a user has nine members in order, an empty password, and no internal fields', async t => {
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
