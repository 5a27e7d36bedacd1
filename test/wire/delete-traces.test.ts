/** What a deleted account leaves behind in the store, while others write to it and it writes itself. */
import t, { type Test } from 'tap'
import { KV_COLLECTIONS } from '../../src/store/store.js'
import { type JsonClient, loggedIn, register } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { type ControlledGateway, startControlled } from '../helpers/store-control.js'
import { minted, withTokens } from '../helpers/tokens.js'

const will = (topic: string) => ({ topic, payload: Buffer.from('a will'), qos: 1 as const, retain: false })

/** Keys of the broker's and the sessions' rows that name the account. */
async function keysOf({ store }: ControlledGateway, id: string): Promise<string[]> {
  const found: string[] = []
  for (const collection of KV_COLLECTIONS)
    for await (const { key } of store.kvRange(collection, []))
      if (key.some(part => String(part).startsWith(id))) found.push(`${collection} ${key}`)
  return found
}

/** Resolves when the account is deleted: the reply, among the messages that are still delivered. */
async function deleted(owner: JsonClient, password: string): Promise<void> {
  owner.send({ type: 'action', action: 'delete', data: { password } })
  for (let reply = await owner.next(); reply.code !== 200; reply = await owner.next());
}

async function setUp(t: Test) {
  const gateway = await startControlled(t, { 'sessions.multiple': 'allow', 'mqtt.acl': 'open' })
  const account = await register(t, gateway)
  const owner = await loggedIn(t, gateway, account)
  await minted(owner, 'lamp')
  await withTokens(t, gateway, account, { device: 'phone' })
  const topic = `topic/${account.id}`
  const away = await rawConnect(t, gateway, { account, clientId: 'away', clean: false })
  await away.subscribe([topic, `users/${account.id}/inbox/#`])
  await away.disconnect()
  const connected = { account, clientId: 'here', clean: false, will: will(topic) }
  const here = await rawConnect(t, gateway, connected)
  await here.subscribe([topic, `users/${account.id}/inbox/+`])
  here.publish(topic, 'half', { qos: 2, messageId: 5 })
  const other = await register(t, gateway)
  const friend = await rawConnect(t, gateway, { account: other, clientId: 'friend' })
  friend.publish(topic, 'queued', { qos: 1, messageId: 1 })
  friend.publish(`users/${account.id}/inbox`, 'for it', { qos: 1, messageId: 2 })
  await friend.take('puback')
  await friend.take('puback')
  return { gateway, account, owner, friend, topic }
}

t.test(
  'nothing of its sessions, queues, wills, credentials, devices and inbox stays, under traffic',
  async t => {
    const { gateway, account, owner, friend, topic } = await setUp(t)
    t.ok((await keysOf(gateway, account.id)).length > 4)
    let sent = 0
    const traffic = setInterval(() => {
      for (let i = 0; i < 2; i++) {
        sent = (sent % 60_000) + 1
        friend.publish(`users/${account.id}/inbox`, `late ${sent}`, { qos: 1, messageId: sent })
        friend.publish(topic, `late ${sent}`, { qos: 0 })
      }
    }, 1)
    await deleted(owner, account.password)
    await owner.closed
    clearInterval(traffic)
    friend.publish(topic, 'last', { qos: 1, messageId: 65_000 })
    while ((await friend.take('puback')).messageId !== 65_000);
    t.same(await keysOf(gateway, account.id), [])
    t.same(await gateway.store.readInbox(account.id, 0, 10), [])
    t.equal(await gateway.store.furthest(account.id), 0)
    t.equal(await gateway.store.slowest(account.id), undefined)
  },
)

t.test('a message that was on its way when its recipient was deleted is refused, and not stored', async t => {
  const { gateway, account, owner } = await setUp(t)
  const sender = await loggedIn(t, gateway)
  const message = (recipient: string) => ({ type: 'message', data: { recipient, content: 'on its way' } })
  await sender.ask(message(account.id))
  const answer = gateway.holdAnswer('append')
  sender.send(message(sender.userId))
  await answer.made
  sender.send(message(account.id))
  await deleted(owner, account.password)
  answer.release()
  const frames = [await sender.next(), await sender.next(), await sender.next()]
  t.match(
    frames.filter(({ code }) => code !== undefined).map(({ code }) => code),
    [201, 10010],
  )
  t.same(await gateway.store.readInbox(account.id, 0, 10), [])
})
