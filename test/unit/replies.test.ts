import t from 'tap'
import { GatewayError } from '../../src/core/errors.js'
import { type Outcome, Replies } from '../../src/handle/replies.js'

function setUp() {
  const written: Outcome[] = []
  return { written, replies: new Replies(outcome => written.push(outcome)) }
}

t.test(
  'replies leave in the order in which their places were taken, whatever the order of answers',
  async t => {
    const { replies, written } = setUp()
    const [first, second, third] = ['1', '2', '3'].map(id => replies.reserve('query', id))
    third?.ok('SUCCESS', 3)
    second?.refuse(new GatewayError('ERROR_FIND_USER'))
    t.same(written, [])
    t.equal(replies.pending, 3)
    first?.stored({ id: 'm', seq: 7, repeat: false })
    t.match(written, [
      { request: 'query', id: '1', code: 'MESSAGE_SUCCESS', data: { id: 'm' } },
      { request: 'query', id: '2', code: 'ERROR_FIND_USER', data: null },
      { request: 'query', id: '3', code: 'SUCCESS', data: 3 },
    ])
    t.equal(replies.pending, 0)
  },
)

t.test('a request without an id gets no data with its 201', async t => {
  const { replies, written } = setUp()
  replies.reserve('message', undefined).stored({ id: 'm', seq: 7, repeat: false })
  t.match(written, [{ code: 'MESSAGE_SUCCESS', data: null }])
})

t.test('a second answer to one request is ignored', async t => {
  const { replies, written } = setUp()
  const answer = replies.reserve('message', undefined)
  answer.ok('SUCCESS')
  answer.failed(new GatewayError('STORE_UNAVAILABLE'))
  answer.ok('SUCCESS')
  t.equal(written.length, 1)
})

t.test('the data of a refusal is the fault', async t => {
  const { replies, written } = setUp()
  replies
    .reserve('invalid', undefined)
    .refuse(new GatewayError('BAD_FIELD', { field: 'email', reason: 'is missing' }))
  t.match(written, [
    { request: 'invalid', code: 'BAD_FIELD', data: { field: 'email', reason: 'is missing' } },
  ])
})

t.test('a refusal with a code of the old protocol has null data; with an id it has the fault', async t => {
  const { replies, written } = setUp()
  const taken = new GatewayError('ERROR_EXIST_USER', { field: 'email', reason: 'taken' })
  replies.reserve('register', undefined).refuse(taken)
  replies.reserve('register', '1').refuse(taken)
  t.same(
    written.map(({ data }) => data),
    [null, { field: 'email', reason: 'taken' }],
  )
})

t.test('an answer given while replies are being written is written after them', async t => {
  const order: unknown[] = []
  const replies = new Replies(({ data }) => {
    order.push(data)
    if (data === 1) replies.reserve('query', undefined).ok('SUCCESS', 3)
  })
  const [first, second] = [replies.reserve('query', undefined), replies.reserve('query', undefined)]
  second.ok('SUCCESS', 2)
  first.ok('SUCCESS', 1)
  t.same(order, [1, 2, 3])
  t.equal(replies.pending, 0)
})

t.test('many thousands stay in order, with some always open', async t => {
  const { replies, written } = setUp()
  const open: ReturnType<Replies['reserve']>[] = []
  const count = 10_000
  for (let i = 0; i < count; i++) {
    open.push(replies.reserve('query', `${i}`))
    if (open.length > 10) open.shift()?.ok('SUCCESS')
  }
  for (const answer of open.reverse()) answer.ok('SUCCESS')
  t.same(
    written.map(({ id }) => id),
    Array.from({ length: count }, (_, i) => `${i}`),
  )
})
