/** A deleted account leaves no data in the store, even if messages from and to it are in progress. */
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { KV_COLLECTIONS, type KvWrite } from '../../src/store/store.js'
import { type JsonClient, jsonClient, loggedIn, register } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { type ControlledGateway, startControlled } from '../helpers/store-control.js'
import { dump } from '../helpers/store-dump.js'
import { minted, withTokens } from '../helpers/tokens.js'

const will = (topic: string) => ({ topic, payload: Buffer.from('a will'), qos: 1 as const, retain: false })

const SETTINGS = { 'sessions.multiple': 'allow', 'mqtt.acl': 'open' }

/**
 * Keys of rows of the broker and of logins that name the account. Topics are ignored, since they may name any account.
 */
async function keysOf({ store }: ControlledGateway, id: string): Promise<string[]> {
  const found: string[] = []
  for (const collection of KV_COLLECTIONS.filter(name => name !== 'retained'))
    for await (const { key } of store.kv.kvRange(collection, []))
      if (key.some(part => String(part).startsWith(id))) found.push(`${collection} ${key}`)
  return found
}

/** Resolves when the account is deleted: the reply, among the messages that are still delivered. */
async function deleted(owner: JsonClient, password: string): Promise<void> {
  owner.send({ type: 'action', action: 'delete', data: { password } })
  for (let reply = await owner.next(); reply.code !== 200; reply = await owner.next());
}

/** What the account says to all, and what others say to it. */
const [TOLD, FOR_IT] = ['told to all', 'for it']

const retained = (gateway: ControlledGateway, topic: string) =>
  gateway.store.kv.kvGet('retained', topic.split('/'))

async function setUp(t: Test) {
  const gateway = await startControlled(t, SETTINGS)
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
  for (const [messageId, name] of ['kept', 'taken', 'empty', 'empty'].entries()) {
    const payload = name === 'empty' && messageId === 3 ? '' : TOLD
    here.publish(`${topic}/${name}`, payload, { qos: 1, messageId: messageId + 10, retain: true })
    await here.take('puback')
  }
  here.publish(topic, 'half', { qos: 2, messageId: 5 })
  const other = await register(t, gateway)
  const friend = await rawConnect(t, gateway, { account: other, clientId: 'friend' })
  friend.publish(topic, 'queued', { qos: 1, messageId: 1 })
  friend.publish(`users/${account.id}/inbox`, FOR_IT, { qos: 1, messageId: 2 })
  friend.publish(`${topic}/taken`, 'of a friend', { qos: 1, messageId: 3, retain: true })
  for (let i = 0; i < 3; i++) await friend.take('puback')
  return { gateway, account, owner, friend, topic }
}

t.test('sessions, queues, wills, credentials, devices and inbox are removed, even under traffic', async t => {
  const { gateway, account, owner, friend, topic } = await setUp(t)
  const { password } = account
  // Messages come to a client that has logged in.
  const asking = await jsonClient(t, gateway)
  const claim = { email: account.email, password }
  const begun = await asking.action('beginSecondFactor', claim, 'b')
  const { secret } = begun.data as { secret: string }
  t.match(await asking.action('mintAppPassword', { ...claim, name: 'old pc' }), { code: 200 })
  t.match(await gateway.store.users.findFactor(account.id), secret)
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
  t.same(await gateway.store.inbox.readInbox(account.id, 0, 10), [])
  t.equal(await gateway.store.cursors.furthest(account.id), 0)
  t.equal(await gateway.store.cursors.slowest(account.id), undefined)
  t.equal(await retained(gateway, `${topic}/kept`), undefined, 'its retained messages went, too')
  t.ok(await retained(gateway, `${topic}/taken`), 'that of a friend did not')
  await gateway.close()
  const found = await dump(gateway)
  t.ok(found.includes('of a friend'), 'the dump shows what there is')
  for (const trace of [account.email, TOLD, FOR_IT, 'half', 'late 1', 'a will', secret, 'old pc'])
    t.notOk(found.includes(trace), trace)
})

t.test('a message in progress when its recipient is deleted is refused and not stored', async t => {
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
  t.same(await gateway.store.inbox.readInbox(account.id, 0, 10), [])
})

t.test('the next start completes a deletion that a stop interrupted', async t => {
  const { gateway, account, owner, topic } = await setUp(t)
  gateway.fail('kvWrite', 'STORE_UNAVAILABLE')
  await deleted(owner, account.password)
  t.ok((await keysOf(gateway, account.id)).length > 4, 'nothing was removed yet')
  t.ok(await retained(gateway, `${topic}/kept`))
  await gateway.close()
  const again = await startControlled(t, { ...SETTINGS, 'data.dir': gateway.dir })
  t.same(await keysOf(again, account.id), [])
  t.equal(await retained(again, `${topic}/kept`), undefined)
  t.ok(await retained(again, `${topic}/taken`))
  while ((await again.store.inbox.readInbox(account.id, 0, 10)).length > 0) await setImmediate()
  await again.close()
  const found = await dump(again)
  for (const trace of [account.email, TOLD, FOR_IT, 'half', 'a will']) t.notOk(found.includes(trace), trace)
})

t.test('the broker forgets the sessions and the retained messages of a deleted account', async t => {
  const { gateway, account, owner, friend, topic } = await setUp(t)
  await deleted(owner, account.password)
  friend.publish(topic, 'for nobody', { qos: 1, messageId: 9 })
  t.match(await friend.take('puback'), { messageId: 9 })
  t.same(await keysOf(gateway, account.id), [])
})

t.test(
  'the will of a revoked login is published neither at once nor, after a crash, by the next start',
  async t => {
    const gateway = await startControlled(t, SETTINGS)
    const account = await register(t, gateway)
    const owner = await loggedIn(t, gateway, account)
    const { password, session } = await minted(owner, 'lamp')
    const willOf = (topic: string) => ({ will: { ...will(topic), retain: true } })
    const credential = { username: account.email, password: Buffer.from(password) }
    await rawConnect(t, gateway, { ...credential, clientId: 'lamp', ...willOf('of/lamp') })
    await rawConnect(t, gateway, { account, clientId: 'here', ...willOf('of/here') })
    const rows: KvWrite[] = []
    while (rows.length < 2) {
      await setImmediate()
      rows.length = 0
      for await (const { key, value } of gateway.store.kv.kvRange('wills', []))
        rows.push({ put: 'wills', key, value })
    }
    t.match(await owner.action('revoke', { session }), { code: 200 })
    const wills = async ({ store }: ControlledGateway) => {
      const keys: unknown[] = []
      for await (const { key } of store.kv.kvRange('wills', [])) keys.push(key)
      return keys
    }
    while ((await wills(gateway)).length > 1) await setImmediate()
    t.equal(await retained(gateway, 'of/lamp'), undefined)
    await gateway.close()
    t.ok(true, 'closed: the other will was published')
    const between = await startControlled(t, { ...SETTINGS, 'data.dir': gateway.dir })
    t.ok(await retained(between, 'of/here'))
    // As if the process had died before either connection ended.
    await between.store.kv.kvWrite([...rows, { remove: 'retained', key: ['of', 'here'] }])
    await between.close()
    const last = await startControlled(t, { ...SETTINGS, 'data.dir': gateway.dir })
    t.same(await wills(last), [])
    t.ok(await retained(last, 'of/here'), 'a login that is good')
    t.equal(await retained(last, 'of/lamp'), undefined)
  },
)
