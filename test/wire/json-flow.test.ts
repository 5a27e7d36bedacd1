/** Clients that send without reading, read slowly, or send faster than they are answered. */

import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { type JsonClient, jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'
import { startControlled } from '../helpers/store-control.js'

const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })
const query = { type: 'action', action: 'query', data: { email: 'a@b.example' } }
const MiB = 2 ** 20

/** More than the kernel holds of what waits for a client that does not read; beyond it bytes wait in the gateway. */
const KERNEL_BYTES = 12 * MiB

/** Sum of the samples of a counter whose line begins with `name`. */
async function metric({ http }: { http: string }, name: string): Promise<number> {
  const lines = (await (await fetch(`${http}/metrics`)).text()).split('\n')
  return lines
    .filter(line => line.startsWith(name))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

/** One member of each of the next `count` frames. */
async function read(client: JsonClient, count: number, member: 'id' | 'code' | 'content') {
  const values: unknown[] = []
  while (values.length < count) {
    const value = (await client.next<Record<string, unknown>>())[member]
    // Long contents begin with their number.
    values.push(member === 'content' ? String(value).split(' ')[0] : value)
  }
  return values
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i}`)

t.test('thousands of requests in a single TCP write are answered in order', async t => {
  const gateway = await startGateway(t)
  const { email, password, id } = await register(t, gateway)
  const socket = connect(gateway.httpPort, '127.0.0.1')
  const client = await jsonClient(t, gateway, '/', { createConnection: () => socket })
  socket.cork()
  client.send({ type: 'action', action: 'login', data: { email, password }, id: 'login' })
  const count = 5000
  for (let i = 0; i < count; i++) client.send({ ...message(id, `${i}`), id: `${i}` })
  socket.uncork()
  t.match(await client.next(), { code: 202, id: 'login' })
  let replies = 0
  let messages = 0
  while (replies < count || messages < count) {
    const frame = await client.next<{ id?: string; code?: number; content?: string }>()
    if (frame.code === 201 && frame.id === `${replies}`) replies++
    else if (frame.content === `${messages}`) messages++
    else return t.fail('out of order', { frame, replies, messages })
  }
})

t.test('a client that pipelines more than limits.pipelined loses nothing', async t => {
  const gateway = await startGateway(t, { 'limits.pipelined': 1 })
  const client = await loggedIn(t, gateway)
  for (let i = 0; i < 300; i++) client.send({ ...query, id: `${i}` })
  t.same(await read(client, 300, 'id'), numbers(300))
})

t.test(
  'a client that requests and does not read gets no more answers until it reads, and then all',
  async t => {
    const gateway = await startGateway(t)
    const [client, other] = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
    for (let i = 0; i < 10; i++) await client.ask(message(other.userId, 'x'.repeat(60_000)))
    for (let i = 0; i < 10; i++) await other.next()
    const history = { type: 'action', action: 'history' }
    client.ws.pause()
    // 600 KB each.
    const count = 40
    for (let i = 0; i < count; i++) client.send({ ...history, data: { with: other.userId }, id: `${i}` })
    for (let i = 0; i < count; i++) await other.ask({ ...history, data: { with: client.userId } })
    const answered = (await metric(gateway, 'mumi_requests_total{front="json",request="history"')) - count
    t.ok(answered < count / 2, `${answered} of ${count} answered`)
    client.ws.resume()
    t.same(await read(client, count, 'id'), numbers(count))
  },
)

t.test('what waits behind a slow request is bounded in bytes', async t => {
  const gateway = await startGateway(t, { 'passwords.cost': 11, 'limits.frameBeforeLogin': '1MiB' })
  const client = await jsonClient(t, gateway)
  for (let i = 0; i < 3; i++)
    client.send({ type: 'action', action: 'login', data: { email: 'a@b.example', password: 'x' } })
  const count = 40
  const padded = JSON.stringify(query).padEnd(500_000)
  for (let i = 0; i < count; i++) client.send(padded)
  for (let i = 0; i < 3; i++) t.match(await client.next(), { code: 10000 })
  const taken = count * padded.length - client.ws.bufferedAmount
  t.ok(taken < KERNEL_BYTES, `${Math.round(taken / MiB)} MiB taken`)
  t.same(await read(client, count, 'code'), Array(count).fill(200))
})

t.test('a client that floods with pings is read later, and nobody else is disturbed', async t => {
  const gateway = await startGateway(t)
  const [client, other] = [await jsonClient(t, gateway), await jsonClient(t, gateway)]
  const payload = Buffer.alloc(125)
  for (let i = 0; i < 10_000; i++) client.ws.ping(payload)
  // Its burst is answered by few pongs: one a turn.
  await once(client.ws, 'pong')
  t.match(await other.ask(query), { code: 200 })
  t.equal(client.ws.readyState, client.ws.OPEN)
})

t.test('what a client sent before it closed is done', async t => {
  const gateway = await startGateway(t)
  const recipients = await Promise.all([1, 2, 3].map(() => register(t, gateway)))
  const client = await loggedIn(t, gateway)
  for (const { id } of recipients) client.send(message(id, 'farewell'))
  await client.close()
  for (const recipient of recipients) {
    t.match(await (await loggedIn(t, gateway, recipient)).next(), { content: 'farewell' })
  }
})

t.test('what a client sent before it closed is done, also where the store is slow', async t => {
  const gateway = await startControlled(t)
  const recipients = await Promise.all([1, 2, 3].map(() => register(t, gateway)))
  const client = await loggedIn(t, gateway)
  const { made, release } = gateway.holdAnswer('findUser')
  for (const { id } of recipients) client.send(message(id, 'farewell'))
  await made
  await client.close()
  release()
  for (const recipient of recipients) {
    t.match(await (await loggedIn(t, gateway, recipient)).next(), { content: 'farewell' })
  }
})

t.test('the smallest buffers stall nobody', async t => {
  const gateway = await startGateway(t, { 'delivery.maxBufferedBytes': '1KiB', 'delivery.windowBytes': '1' })
  const [sender, reader] = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
  const content = 'x'.repeat(5000)
  for (let i = 0; i < 50; i++) sender.send(message(reader.userId, `${i} ${content}`))
  t.same(await read(sender, 50, 'code'), Array(50).fill(201))
  t.same(await read(reader, 50, 'content'), numbers(50))
  const history = { type: 'action', action: 'history', data: { with: reader.userId } }
  for (let i = 0; i < 20; i++) sender.send({ ...history, id: `${i}` })
  t.same(await read(sender, 20, 'id'), numbers(20))
})

t.test('a reader that stops does not slow the sender down, and gets everything in the end', async t => {
  const gateway = await startGateway(t)
  const sender = await loggedIn(t, gateway)
  const reader = await loggedIn(t, gateway)
  reader.ws.pause()
  const content = 'x'.repeat(30_000)
  const count = 600
  for (let i = 0; i < count; i++) sender.send(message(reader.userId, `${i} ${content}`))
  t.same(await read(sender, count, 'code'), Array(count).fill(201))
  const written = await metric(gateway, 'mumi_messages_delivered_total')
  t.ok(written < KERNEL_BYTES / content.length + 100, `${written} of ${count} written`)
  reader.ws.resume()
  t.same(await read(reader, count, 'content'), numbers(count))
})

t.test('a client that reads nothing for delivery.stallTimeout is cut off, and its messages wait', async t => {
  const gateway = await startGateway(t, { 'delivery.stallTimeout': '300ms' })
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  const reader = await loggedIn(t, gateway, account)
  reader.ws.pause()
  const content = 'x'.repeat(60_000)
  const count = 150
  for (let i = 0; i < count; i++) sender.send(message(account.id, `${i} ${content}`))
  for (let i = 0; i < count; i++) await sender.next()
  const isOnline = async () => {
    const { data } = await sender.action('query', { id: account.id })
    return (data as { isLogin: boolean }[])[0]?.isLogin
  }
  while (await isOnline());
  const back = await loggedIn(t, gateway, account)
  t.same(await read(back, count, 'content'), numbers(count))
})
