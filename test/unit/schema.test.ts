import t from 'tap'
import { parseRequest, RefusedRequest, type RequestRules } from '../../src/protocol/requests.js'

const RULES: RequestRules = { unknownFields: 'refuse', maxDepth: 8, maxValues: 256 }
const parse = (request: unknown, rules: Partial<RequestRules> = {}) =>
  parseRequest(typeof request === 'string' ? request : JSON.stringify(request), { ...RULES, ...rules })

/** [code, field, reason, id] of the refusal. */
function refusal(request: unknown, rules: Partial<RequestRules> = {}) {
  try {
    parse(request, rules)
  } catch (error) {
    if (!(error instanceof RefusedRequest)) throw error
    return [error.number, error.info?.field, error.info?.reason, error.id] as const
  }
  throw new Error('was taken')
}

const message = { type: 'message', data: { recipient: '289559048', content: 'hello' } }

t.test('a request is its name, its id and its data', async t => {
  t.same(parse(message), { name: 'message', id: undefined, data: message.data })
  t.same(parse({ ...message, id: 'x' }), { name: 'message', id: 'x', data: message.data })
  t.same(parse({ type: 'action', action: 'query' }), { name: 'query', id: undefined, data: {} })
  t.same(parse({ type: 'action', action: 'query', data: null }), { name: 'query', id: undefined, data: {} })
  t.match(parse({ type: 'broadcast', data: { content: 'x' } }), { name: 'broadcast' })
})

t.test('white space, member order and escapes have no effect', async t => {
  const pretty =
    '\r\n{\n    "data": {\n\t"content": "\\u0068i",\n    "recipient": "289559048" },\n  "type": "mess\\u0061ge"\n}\n'
  t.match(parse(pretty), { name: 'message', data: { content: 'hi', recipient: '289559048' } })
})

t.test(
  'the last of two members with one name counts (undefined in RFC 8259, defined in ECMAScript)',
  async t => {
    t.match(parse('{"type":"nonsense","type":"action","action":"query"}'), { name: 'query' })
  },
)

t.test('a frame that is not a JSON object is 10100', async t => {
  for (const text of [
    '',
    ' ',
    '{',
    '{"type":"message"',
    'nonsense',
    "{'type':'x'}",
    '{"a":1,}',
    '{}{}',
    '\uFEFF{}',
    '{"a":NaN}',
  ]) {
    t.same(refusal(text), [10100, undefined, 'not valid JSON', undefined], text)
  }
  for (const text of ['null', '[]', '[{"type":"message"}]', '"x"', '7', 'true']) {
    t.same(refusal(text), [10100, undefined, 'not an object', undefined], text)
  }
})

t.test('the refusal names the fault of type and action', async t => {
  t.same(refusal({}), [10101, 'type', 'is missing', undefined])
  for (const type of [null, 7, {}, ['message']])
    t.same(refusal({ type }), [10101, 'type', 'must be a string', undefined])
  t.same(refusal({ type: 'nonsense' }), [10102, 'type', 'unknown type', undefined])
  t.same(refusal({ type: '' }), [10102, 'type', 'unknown type', undefined])
  t.same(refusal({ type: 'Message' }), [10102, 'type', 'unknown type', undefined])
  t.same(refusal({ type: 'action' }), [10101, 'action', 'is missing', undefined])
  t.same(refusal({ type: 'action', action: ['login'] }), [10101, 'action', 'must be a string', undefined])
  t.same(refusal({ type: 'action', action: 'nonsense' }), [10102, 'action', 'unknown action', undefined])
  t.same(refusal({ type: 'action', action: 'message', data: message.data }), [
    10102,
    'action',
    'unknown action',
    undefined,
  ])
  t.same(refusal({ type: 'login' }), [10102, 'type', 'unknown type', undefined])
})

t.test('property names of every JavaScript object are treated like any other name', async t => {
  for (const name of ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty']) {
    t.same(refusal({ type: name }), [10102, 'type', 'unknown type', undefined], name)
    t.same(refusal({ type: 'action', action: name }), [10102, 'action', 'unknown action', undefined], name)
    t.same(refusal(`{"type":"message","${name}":{}}`), [10101, name, 'unknown field', undefined], name)
    const inData = `{"type":"action","action":"login","data":{"${name}":{"email":"a@b.example"}}}`
    t.same(refusal(inData), [10101, name, 'unknown field', undefined], name)
    const { data } = parse(inData, { unknownFields: 'ignore' })
    t.equal((data as { email?: string }).email, undefined, 'nothing comes from a prototype')
  }
  t.equal(({} as { email?: string }).email, undefined)
})

t.test('unknown fields are refused by name, or ignored if configured', async t => {
  t.same(refusal({ ...message, extra: 1 }), [10101, 'extra', 'unknown field', undefined])
  t.same(refusal({ ...message, data: { ...message.data, extra: 1 } }), [
    10101,
    'extra',
    'unknown field',
    undefined,
  ])
  t.match(parse({ ...message, extra: 1, data: { ...message.data, extra: 1 } }, { unknownFields: 'ignore' }), {
    name: 'message',
  })
  t.same(refusal({ type: 'action', action: 'query', data: { emial: 'x' } }, { unknownFields: 'ignore' }), [
    10101,
    'emial',
    'unknown field',
    undefined,
  ])
})

t.test('a long unknown name is cut in the refusal', async t => {
  t.equal(refusal(`{"type":"message","${'x'.repeat(10_000)}":1}`)[1], 'x'.repeat(64))
})

t.test('data must be an object', async t => {
  for (const data of ['x', 7, true, [], [{}]]) {
    t.same(
      refusal({ ...message, data }),
      [10101, 'data', 'must be an object', undefined],
      JSON.stringify(data),
    )
  }
})

t.test('missing, mistyped and empty fields are named, never their value', async t => {
  const secret = { secret: 'hunter2' }
  const cases: [object, string, string][] = [
    [{ type: 'message', data: { recipient: '289559048' } }, 'content', 'is missing'],
    [{ type: 'message', data: { content: 'x' } }, 'recipient', 'is missing'],
    [{ type: 'message', data: { content: 'x', recipient: 289559048 } }, 'recipient', 'must be a string'],
    [{ type: 'message', data: { content: secret, recipient: '289559048' } }, 'content', 'must be a string'],
    [{ type: 'message', data: { content: null, recipient: '289559048' } }, 'content', 'must be a string'],
    [{ type: 'message', data: { content: '', recipient: '289559048' } }, 'content', 'must not be empty'],
    [{ type: 'broadcast' }, 'content', 'is missing'],
    [{ type: 'action', action: 'login', data: { email: secret } }, 'email', 'must be a string'],
    [{ type: 'action', action: 'login', data: { ack: 'hunter2' } }, 'ack', 'has the wrong type or value'],
    [
      { type: 'action', action: 'login', data: { events: 'hunter2' } },
      'events',
      'has the wrong type or value',
    ],
    [{ type: 'action', action: 'login', data: { device: '' } }, 'device', 'must not be empty'],
    [{ type: 'action', action: 'login', data: { from: 'hunter2' } }, 'from', 'has the wrong type or value'],
    [{ type: 'action', action: 'delete' }, 'password', 'is missing'],
    [{ type: 'action', action: 'ack', data: { seq: 'hunter2' } }, 'seq', 'has the wrong type or value'],
    [{ type: 'action', action: 'ack', data: { seq: -1 } }, 'seq', 'has the wrong type or value'],
    [{ type: 'action', action: 'ack', data: { seq: 1.5 } }, 'seq', 'has the wrong type or value'],
    [{ type: 'action', action: 'ack', data: { seq: 1e300 } }, 'seq', 'has the wrong type or value'],
    [{ type: 'action', action: 'history', data: { with: 'hunter2' } }, 'with', 'is not a user id'],
    [{ type: 'action', action: 'query', data: { after: 'hunter2' } }, 'after', 'is not a user id'],
  ]
  for (const [request, field, reason] of cases) {
    t.same(refusal(request), [10101, field, reason, undefined], JSON.stringify(request))
  }
})

t.test('NUL and half surrogate pairs are refused in every text that is stored or compared', async t => {
  const whole: Record<string, Record<string, string>> = {
    register: { email: 'a@b.example', password: 'p', firstName: 'f', lastName: 'l', username: 'u' },
    login: { email: 'a@b.example', password: 'p', device: 'd' },
    query: { email: 'a@b.example', username: 'u', id: '1', firstName: 'f', lastName: 'l' },
    delete: { password: 'p' },
  }
  for (const [action, data] of Object.entries(whole)) {
    t.match(parse({ type: 'action', action, data }), { name: action })
    for (const [field, value] of Object.entries(data)) {
      const withNul = { type: 'action', action, data: { ...data, [field]: `${value}\0` } }
      t.same(refusal(withNul), [10101, field, 'must not contain NUL', undefined], `${action} ${field}`)
      const withHalf = { type: 'action', action, data: { ...data, [field]: `${value}\ud83e` } }
      t.same(refusal(withHalf), [10101, field, 'is not well-formed Unicode', undefined], `${action} ${field}`)
    }
  }
})

t.test('every text has a longest length, answered 10103', async t => {
  const longest: [string, string, number][] = [
    ['register', 'email', 320],
    ['register', 'password', 1024],
    ['register', 'firstName', 128],
    ['register', 'lastName', 128],
    ['register', 'username', 64],
    ['login', 'email', 320],
    ['login', 'password', 1024],
    ['login', 'device', 64],
    ['query', 'firstName', 128],
    ['delete', 'password', 1024],
  ]
  const whole = { register: { email: 'e', password: 'p', firstName: 'f', lastName: 'l' } } as Record<
    string,
    object
  >
  for (const [action, field, length] of longest) {
    const request = (text: string) => ({ type: 'action', action, data: { ...whole[action], [field]: text } })
    t.match(parse(request('x'.repeat(length))), { name: action }, `${action} ${field} at its limit`)
    t.same(
      refusal(request('x'.repeat(length + 1))),
      [10103, field, `longer than ${length} characters`, undefined],
      field,
    )
  }
})

t.test('an id is text of 1 to 64 characters, and every refusal after it repeats it', async t => {
  t.match(parse({ ...message, id: 'x'.repeat(64) }), { id: 'x'.repeat(64) })
  for (const id of ['', 'x'.repeat(65), 7, null, {}, '\ud83e']) {
    t.same(refusal({ ...message, id }), [10101, 'id', 'must be a string of 1 to 64 characters', undefined])
  }
  for (const bad of [
    { type: 'nonsense' },
    { type: 'action' },
    { type: 'message' },
    { ...message, data: 1 },
    { ...message, x: 1 },
  ]) {
    t.equal(refusal({ ...bad, id: 'mine' })[3], 'mine', JSON.stringify(bad))
  }
})

t.test('nesting is refused beyond the limit and never exhausts the stack', async t => {
  const nested = (levels: number) =>
    `{"type":"message","data":${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}}`
  const rules = { unknownFields: 'ignore', maxDepth: 8, maxValues: 256 } as const
  t.same(refusal(nested(7), rules), [10101, 'recipient', 'is missing', undefined], 'at the limit')
  t.same(refusal(nested(8), rules), [10100, undefined, 'nested too deep', undefined])
  t.same(refusal(nested(250), rules), [10100, undefined, 'nested too deep', undefined])
  t.same(refusal(nested(100_000), rules), [10100, undefined, 'too many members', undefined], 'not parsed')
  const array = `{"type":"message","id":"x","data":{"content":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`
  t.same(refusal(array), [10100, undefined, 'too many members', undefined])
  t.same(refusal('['.repeat(100_000)), [10100, undefined, 'too many members', undefined], 'not parsed')
})
