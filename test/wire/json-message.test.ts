import t from 'tap'
import { jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'

const gateway = await startGateway(t)
const message = (recipient: string, content: unknown) => ({ type: 'message', data: { recipient, content } })

t.test('a message needs a login, and nothing else is said about it', async t => {
  const { id } = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  t.strictSame(await client.ask(message(id, 'x')), { code: 10007, msg: '請先進行登入', data: null })
  t.strictSame(await client.ask(message('100000000', 'x')), { code: 10007, msg: '請先進行登入', data: null })
})

t.test('an unknown recipient is 10010, whatever the text of the id', async t => {
  const client = await loggedIn(t, gateway)
  for (const id of [
    '100000000',
    '',
    '0',
    '012345678',
    '1e8',
    '1234567890',
    'nobody@example.com',
    '__proto__',
    '１２３４５６７８９',
  ]) {
    t.strictSame(await client.ask(message(id, 'x')), { code: 10010, msg: '找不到使用者', data: null }, id)
  }
})

t.test('the reply to a message is 201 with null data, and the sender is not told of it again', async t => {
  const sender = await loggedIn(t, gateway)
  const recipient = await loggedIn(t, gateway)
  t.strictSame(await sender.ask(message(recipient.userId, 'hello')), {
    code: 201,
    msg: '訊息發送成功',
    data: null,
  })
  await recipient.next()
  t.match(await sender.action('login'), { code: 10005 }, 'the next frame is the next reply')
})

t.test('the frame of a message, byte for byte', async t => {
  const sender = await loggedIn(t, gateway)
  const recipient = await loggedIn(t, gateway)
  await sender.ask(message(recipient.userId, 'a "b" \\ \u2028 \n 中文 🦊 </script>'))
  const text = await recipient.nextText()
  const { created_at } = JSON.parse(text)
  t.equal(
    text,
    `{"sender":"${sender.userId}","recipient":"${recipient.userId}","content":"a \\"b\\" \\\\ \u2028 \\n 中文 🦊 </script>","created_at":"${created_at}"}`,
  )
  t.match(created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  t.ok(Math.abs(Date.now() - Date.parse(created_at)) < 5000)
})

t.test('a message to oneself arrives once', async t => {
  const client = await loggedIn(t, gateway)
  t.match(await client.ask(message(client.userId, 'note')), { code: 201 })
  t.match(await client.next(), { sender: client.userId, recipient: client.userId, content: 'note' })
  t.match(await client.ask(message(client.userId, 'second')), { code: 201 })
  t.match(await client.next(), { content: 'second' })
})

t.test('content of exactly limits.content bytes goes through, one byte more is 10103', async t => {
  const sender = await loggedIn(t, gateway)
  const recipient = await loggedIn(t, gateway)
  const limit = 65_536
  const contents = [
    'x'.repeat(limit),
    'é'.repeat(limit / 2),
    `${'漢'.repeat(Math.floor(limit / 3))}x`,
    '🦊'.repeat(limit / 4),
  ]
  for (const content of contents) {
    t.equal(Buffer.byteLength(content), limit)
    t.match(await sender.ask(message(recipient.userId, content)), { code: 201 })
    t.equal((await recipient.next<{ content: string }>()).content, content)
    t.match(await sender.ask(message(recipient.userId, `${content}x`)), {
      code: 10103,
      data: { field: 'content' },
    })
  }
})

t.test('content that JSON escapes six-fold is measured by its text', async t => {
  const client = await loggedIn(t, gateway)
  const content = '\u0001'.repeat(65_536)
  t.match(await client.ask(message(client.userId, content)), { code: 201 })
  t.equal((await client.next<{ content: string }>()).content, content)
})

t.test(
  'content that crashes old clients is refused: missing, empty, not a string, NUL, half a surrogate pair',
  async t => {
    const sender = await loggedIn(t, gateway)
    const recipient = await loggedIn(t, gateway)
    const bad = [undefined, '', null, 7, true, {}, [], ['x'], 'a\u0000b', '\u0000', 'a\ud800', '\udc00\ud800']
    for (const content of bad) {
      const reply = await sender.ask(message(recipient.userId, content))
      t.match(reply, { code: 10101, data: { field: 'content', reason: String } }, JSON.stringify(content))
    }
    t.match(await sender.ask(message(recipient.userId, 'good')), { code: 201 })
    t.match(await recipient.next(), { content: 'good' }, 'nothing of it was delivered')
  },
)

t.test(
  'thousands of requests in one burst: replies in the order of the requests, messages in theirs',
  async t => {
    const sender = await loggedIn(t, gateway)
    const recipient = await loggedIn(t, gateway)
    const count = 5000
    for (let i = 0; i < count; i++) sender.send({ ...message(recipient.userId, `m${i}`), id: `r${i}` })
    for (let i = 0; i < count; i++) {
      const reply = await sender.next()
      if (reply.id !== `r${i}` || reply.code !== 201) return t.fail(`reply ${i}`, { reply })
    }
    for (let i = 0; i < count; i++) {
      const { content } = await recipient.next<{ content: string }>()
      if (content !== `m${i}`) return t.fail(`message ${i}`, { content })
    }
    t.same(sender.unread, [])
    t.same(recipient.unread, [])
  },
)

t.test('quick and slow requests mixed are answered in order', async t => {
  const client = await loggedIn(t, gateway)
  const strangers = await Promise.all(Array.from({ length: 10 }, () => register(t, gateway)))
  const expected: [string, number][] = []
  const send = (request: object, code: number) => {
    const id = `${expected.length}`
    expected.push([id, code])
    client.send({ ...request, id })
  }
  for (const { id, email } of strangers) {
    send(message(id, 'to one whom the server has not seen yet'), 201)
    send({ type: 'action', action: 'query', data: { email } }, 200)
    send(message('100000000', 'x'), 10010)
    send({ type: 'action', action: 'delete', data: { password: 'wrong' } }, 10000)
    send(message(id, ''), 10101)
    send({ type: 'nonsense' }, 10102)
    send({ type: 'broadcast', data: { content: 'x' } }, 204)
    send({ type: 'action', action: 'login' }, 10005)
    send(message(id, 'known by now'), 201)
  }
  const replies: [string | undefined, number][] = []
  while (replies.length < expected.length) {
    const { id, code } = await client.next()
    replies.push([id, code])
  }
  t.same(replies, expected)
})

t.test('many senders to one recipient: each one’s messages stay in order', async t => {
  const recipient = await loggedIn(t, gateway)
  const senders = await Promise.all(Array.from({ length: 5 }, () => loggedIn(t, gateway)))
  const each = 200
  for (let i = 0; i < each; i++) for (const sender of senders) sender.send(message(recipient.userId, `${i}`))
  const next = new Map(senders.map(({ userId }) => [userId, 0]))
  for (let i = 0; i < each * senders.length; i++) {
    const { sender, content } = await recipient.next<{ sender: string; content: string }>()
    if (content !== `${next.get(sender)}`) return t.fail(`message ${content} of ${sender}`)
    next.set(sender, Number(content) + 1)
  }
  t.same(
    [...next.values()],
    senders.map(() => each),
  )
})
