/** How much of an inbox one sender may have, whatever the gateway has forgotten and however fast it comes. */
import t, { type Test } from 'tap'
import {
  dataDir,
  type JsonClient,
  loggedIn,
  type RunningGateway,
  register,
  startGateway,
} from '../helpers/gateway.js'

const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })

/** All at once. @returns how many were stored, and how many found no room */
async function burst(sender: JsonClient, recipient: string, count: number, content = 'spam') {
  const asked = Array.from({ length: count }, () => sender.ask(message(recipient, content)))
  const codes = (await Promise.all(asked)).map(({ code }) => code)
  const of = (wanted: number) => codes.filter(code => code === wanted).length
  return { stored: of(201), full: of(10126) }
}

async function oneByOne(sender: JsonClient, recipient: string, count: number) {
  for (let i = 0; i < count; i++) await sender.ask(message(recipient, 'slow'))
}

async function accounts(t: Test, gateway: RunningGateway) {
  return {
    spammer: await register(t, gateway),
    friend: await register(t, gateway),
    owner: await register(t, gateway),
  }
}

for (const before of [0, 20, 50, 60, 99, 100]) {
  t.test(`of 200, a sender who has ${before} there gets half with a burst`, async t => {
    const gateway = await startGateway(t, { 'inbox.maxMessages': 200 })
    const { spammer, friend, owner } = await accounts(t, gateway)
    const sender = await loggedIn(t, gateway, spammer)
    await oneByOne(sender, owner.id, before)
    t.same(await burst(sender, owner.id, 300), { stored: 100 - before, full: 200 + before })
    t.match(await (await loggedIn(t, gateway, friend)).ask(message(owner.id, 'hello')), { code: 201 })
  })
}

t.test('a restart forgets nothing of it', async t => {
  const settings = { 'inbox.maxMessages': 200, 'data.dir': dataDir(t) }
  const first = await startGateway(t, settings)
  const { spammer, friend, owner } = await accounts(t, first)
  t.same(await burst(await loggedIn(t, first, spammer), owner.id, 300), { stored: 100, full: 200 })
  await first.close()
  const second = await startGateway(t, settings)
  const [again, other] = [await loggedIn(t, second, spammer), await loggedIn(t, second, friend)]
  t.same(await burst(again, owner.id, 300), { stored: 0, full: 300 })
  t.same(await burst(other, owner.id, 300), { stored: 50, full: 250 }, 'half of what is left')
})

t.test('a burst of large texts finds the limit of bytes', async t => {
  const gateway = await startGateway(t, { 'inbox.maxBytes': '1MiB' })
  const { spammer, friend, owner } = await accounts(t, gateway)
  const { stored, full } = await burst(await loggedIn(t, gateway, spammer), owner.id, 100, 'x'.repeat(30_000))
  // A text is at least its content; half of a MiB has room for 17 of 30,000.
  t.ok(stored > 10 && stored <= 18, `${stored} stored`)
  t.equal(stored + full, 100)
  t.match(await (await loggedIn(t, gateway, friend)).ask(message(owner.id, 'x'.repeat(30_000))), {
    code: 201,
  })
})

t.test('a long inbox is no exception', async t => {
  const gateway = await startGateway(t, { 'inbox.maxMessages': 10_001 })
  const { spammer, friend, owner } = await accounts(t, gateway)
  t.same(await burst(await loggedIn(t, gateway, spammer), owner.id, 6_000), { stored: 5_001, full: 999 })
  t.match(await (await loggedIn(t, gateway, friend)).ask(message(owner.id, 'hello')), { code: 201 })
})

t.test('many senders at once do not fill it', async t => {
  const gateway = await startGateway(t, { 'inbox.maxMessages': 200 })
  const { friend, owner } = await accounts(t, gateway)
  const senders = await Promise.all(Array.from({ length: 5 }, () => loggedIn(t, gateway)))
  const results = await Promise.all(senders.map(sender => burst(sender, owner.id, 200)))
  const stored = results.reduce((sum, { stored }) => sum + stored, 0)
  t.ok(stored > 160 && stored < 200, `${stored} stored`)
  t.match(await (await loggedIn(t, gateway, friend)).ask(message(owner.id, 'hello')), { code: 201 })
})

t.test('broadcasts have their share, also in an inbox that was not asked about', async t => {
  const settings = { 'inbox.maxMessages': 40, 'data.dir': dataDir(t) }
  const first = await startGateway(t, settings)
  const { spammer, friend, owner } = await accounts(t, first)
  t.same(await burst(await loggedIn(t, first, spammer), owner.id, 60), { stored: 20, full: 40 })
  await first.close()
  const second = await startGateway(t, settings)
  const sender = await loggedIn(t, second, spammer)
  // It is online and confirms nothing.
  const reader = await loggedIn(t, second, owner, { device: 'd' })
  reader.ws.pause()
  for (let i = 0; i < 60; i++) await sender.ask({ type: 'broadcast', data: { content: 'all' } })
  const other = await loggedIn(t, second, friend)
  t.match(await other.ask(message(owner.id, 'hello')), { code: 201 })
})
