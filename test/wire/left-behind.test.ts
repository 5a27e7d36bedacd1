/** Requests that wait when their client leaves: those that write are done, those that only read are dropped. */
import t, { type Test } from 'tap'
import { loggedIn, register } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'
import { sessionsOf } from '../helpers/tokens.js'

const gateway = await startControlled(t, { 'sessions.multiple': 'allow' })

/** A user that the gateway must look up in the store. */
const STRANGER = '999999999'

const message = (recipient: string, content: string) =>
  JSON.stringify({ type: 'message', data: { recipient, content } })
const action = (action: string, data: object = {}) => JSON.stringify({ type: 'action', action, data })

/** Reads that the store was asked for since. */
function countReads(t: Test): string[] {
  const reads: string[] = []
  const { users, inbox } = gateway.store
  const [findUsers, readConversation] = [users.findUsers.bind(users), inbox.readConversation.bind(inbox)]
  users.findUsers = (...args) => {
    reads.push('findUsers')
    return findUsers(...args)
  }
  inbox.readConversation = (...args) => {
    reads.push('readConversation')
    return readConversation(...args)
  }
  t.teardown(() => {
    Reflect.deleteProperty(users, 'findUsers')
    Reflect.deleteProperty(inbox, 'readConversation')
  })
  return reads
}

/** Requests of which the first one waits for the store, the next ones only read, and the last one writes. */
async function setUp(t: Test) {
  const account = await register(t, gateway)
  const owner = await loggedIn(t, gateway, account)
  const reader = await loggedIn(t, gateway)
  // Known from here on.
  await owner.ask({ type: 'message', data: { recipient: reader.userId, content: 'first' } })
  await reader.next()
  const requests = [
    message(STRANGER, 'x'),
    action('query', { firstName: 'nobody' }),
    action('query'),
    action('history', { with: reader.userId }),
    action('sessions'),
    message(reader.userId, 'kept'),
  ]
  return { account, owner, reader, requests, reads: countReads(t) }
}

t.test('of a JSON client', async t => {
  const { account, owner, reader, requests, reads } = await setUp(t)
  const client = await loggedIn(t, gateway, account)
  const held = gateway.holdAnswer('findUser')
  for (const request of requests) client.send(request)
  await held.made
  client.ws.terminate()
  while ((await sessionsOf(owner)).length > 1) t.pass('not noticed yet')
  held.release()
  t.match(await reader.next(), { content: 'kept' })
  t.same(reads, [])
})

t.test('of an MQTT client', async t => {
  const { account, owner, reader, requests, reads } = await setUp(t)
  const client = await rawConnect(t, gateway, { account, clientId: 'd' })
  const held = gateway.holdAnswer('findUser')
  const topic = `users/${account.id}/requests`
  const packets = requests.map(
    payload => ({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false }) as const,
  )
  // In one write: of another Aedes would read nothing before the first is done.
  client.send(...packets)
  await held.made
  client.socket.destroy()
  while ((await sessionsOf(owner)).length > 1) t.pass('not noticed yet')
  held.release()
  t.match(await reader.next(), { content: 'kept' })
  t.same(reads, [])
})

t.test('all requests of a client that stays are answered', async t => {
  const { account, requests, reads } = await setUp(t)
  const client = await loggedIn(t, gateway, account)
  for (const request of requests) client.send(request)
  const codes: number[] = []
  while (codes.length < requests.length) codes.push((await client.next<{ code: number }>()).code)
  t.equal(codes.filter(code => code === 200).length, 4)
  t.same(reads, ['findUsers', 'findUsers', 'readConversation'])
})
