import t from 'tap'
import { type JsonClient, jsonClient, loggedIn, startGateway } from '../helpers/gateway.js'

const gateway = await startGateway(t)
const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })

interface Extended {
  readonly id: string
  readonly seq: number
  readonly content: string
}

t.test('history: a conversation, newest first, in pages, seen by both', async t => {
  const [ann, ben] = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
  const other = await loggedIn(t, gateway)
  for (let i = 0; i < 5; i++) {
    await ann.ask(message(ben.userId, `to ben ${i}`))
    await ben.next()
    await ben.ask(message(ann.userId, `to ann ${i}`))
    await ann.next()
  }
  await other.ask(message(ann.userId, 'from another'))
  await ann.next()
  interface Page {
    readonly messages: Extended[]
    readonly more: boolean
  }
  const page = async (client: JsonClient, data: object) => (await client.action('history', data)).data as Page
  const all = await page(ann, { with: ben.userId })
  t.strictSame(
    all.messages.map(({ content }) => content),
    [4, 3, 2, 1, 0].flatMap(i => [`to ann ${i}`, `to ben ${i}`]),
  )
  t.equal(all.more, false)
  t.strictSame(Object.keys(all.messages[0] ?? {}), [
    'sender',
    'recipient',
    'content',
    'created_at',
    'id',
    'seq',
  ])
  t.strictSame(
    Object.keys(all.messages[1] ?? {}),
    ['sender', 'recipient', 'content', 'created_at', 'id'],
    'seq is the reader’s own',
  )
  const first = await page(ann, { with: ben.userId, limit: 4 })
  t.strictSame(first, { messages: all.messages.slice(0, 4), more: true })
  const second = await page(ann, { with: ben.userId, limit: 4, before: first.messages[3]?.id })
  t.strictSame(second, { messages: all.messages.slice(4, 8), more: true })
  const third = await page(ann, { with: ben.userId, limit: 4, before: second.messages[3]?.id })
  t.strictSame(third, { messages: all.messages.slice(8), more: false })
  t.strictSame(
    (await page(ben, { with: ann.userId })).messages.map(({ id }) => id),
    all.messages.map(({ id }) => id),
  )
})

t.test('history with oneself, with a stranger, and before login', async t => {
  const client = await loggedIn(t, gateway)
  await client.ask(message(client.userId, 'note'))
  await client.next()
  t.match(await client.action('history', { with: client.userId }), {
    code: 200,
    data: { messages: [{ content: 'note', seq: 1 }], more: false },
  })
  t.match(await client.action('history', { with: '100000000' }), {
    code: 200,
    data: { messages: [], more: false },
  })
  t.match(await client.action('history', { with: 'x' }), { code: 10101, data: { field: 'with' } })
  t.match(await (await jsonClient(t, gateway)).action('history', { with: client.userId }), { code: 10007 })
})
