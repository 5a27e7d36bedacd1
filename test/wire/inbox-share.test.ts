/** The share of an inbox that one sender may use, over restarts and at any rate. */
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

t.test('the shares are the same after a restart', async t => {
  const settings = { 'inbox.maxMessages': 200, 'data.dir': dataDir(t) }
  const first = await startGateway(t, settings)
  const { spammer, friend, owner } = await accounts(t, first)
  t.same(await burst(await loggedIn(t, first, spammer), owner.id, 300), { stored: 100, full: 200 })
  await first.close()
  const second = await startGateway(t, settings)
  const [again, other] = [await loggedIn(t, second, spammer), await loggedIn(t, second, friend)]
  t.same(await burst(again, owner.id, 300), { stored: 0, full: 300 })
  t.same(await burst(other, owner.id, 300), { stored: 39, full: 261 }, 'less the fuller it is')
})

t.test('a burst of large texts is bounded in bytes', async t => {
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

t.test('the share also applies to a long inbox', async t => {
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
  // How much depends on how their messages fall into commits.
  t.ok(stored > 140 && stored < 200, `${stored} stored`)
  t.match(await (await loggedIn(t, gateway, friend)).ask(message(owner.id, 'hello')), { code: 201 })
})

t.test('twelve senders, one after the other, leave room for another one', async t => {
  const gateway = await startGateway(t, { 'inbox.maxMessages': 100 })
  const { friend, owner } = await accounts(t, gateway)
  for (let i = 0; i < 12; i++) await burst(await loggedIn(t, gateway), owner.id, 60)
  t.match(await (await loggedIn(t, gateway, friend)).ask(message(owner.id, 'hello')), { code: 201 })
})

t.test('a repeat is answered like the first one, even if there is no more room', async t => {
  const gateway = await startGateway(t, { 'inbox.maxMessages': 40 })
  const { spammer, owner } = await accounts(t, gateway)
  const sender = await loggedIn(t, gateway, spammer)
  const first = { ...message(owner.id, 'once'), id: '1' }
  const stored = await sender.ask(first)
  t.match(stored, { code: 201 })
  t.same(await burst(sender, owner.id, 60), { stored: 19, full: 41 })
  t.match(await sender.ask(first), { code: 201, data: stored.data })
  t.match(await sender.ask({ ...message(owner.id, 'another'), id: '2' }), { code: 10126 })
  const reader = await loggedIn(t, gateway, owner, { from: 'start', device: 'd' })
  t.match(await reader.next(), { content: 'once', seq: 1 })
  for (let seq = 2; seq <= 20; seq++) t.match(await reader.next(), { content: 'spam', seq })
})

t.test('concurrent copies are repeats of the one that is stored', async t => {
  const gateway = await startGateway(t, { 'inbox.maxMessages': 40 })
  const { spammer, owner } = await accounts(t, gateway)
  const sender = await loggedIn(t, gateway, spammer)
  const copies = Array.from({ length: 60 }, () => sender.ask({ ...message(owner.id, 'once'), id: '1' }))
  t.same(
    (await Promise.all(copies)).map(({ code }) => code),
    Array(60).fill(201),
  )
  t.match(await sender.ask(message(owner.id, 'last')), { code: 201 })
  const reader = await loggedIn(t, gateway, owner, { from: 'start', device: 'd' })
  t.match([await reader.next(), await reader.next()], [{ content: 'once' }, { content: 'last', seq: 2 }])
})

t.test('confirming makes room at once', async t => {
  const gateway = await startGateway(t, { 'inbox.maxMessages': 10 })
  const { spammer, owner } = await accounts(t, gateway)
  const sender = await loggedIn(t, gateway, spammer)
  const reader = await loggedIn(t, gateway, owner, { ack: 'explicit' })
  for (let round = 0; round < 10; round++) {
    const { stored } = await burst(sender, owner.id, 10)
    let seq = 0
    for (let i = 0; i < stored; i++) seq = (await reader.next<{ seq: number }>()).seq
    t.match(await reader.action('ack', { seq }), { code: 200 })
    t.equal(stored, 5)
  }
})

t.test('broadcasts have their share, over any number of restarts', async t => {
  const settings = { 'inbox.maxMessages': 40, 'data.dir': dataDir(t) }
  const first = await startGateway(t, settings)
  const { owner } = await accounts(t, first)
  await first.close()
  for (let i = 0; i < 4; i++) {
    const gateway = await startGateway(t, settings)
    // It is online and confirms nothing.
    const reader = await loggedIn(t, gateway, owner, { device: 'd' })
    reader.ws.pause()
    const sender = await loggedIn(t, gateway)
    for (let n = 0; n < 30; n++) await sender.ask({ type: 'broadcast', data: { content: 'all' } })
    // Somebody who has nothing there yet.
    const other = await loggedIn(t, gateway)
    t.match(await other.ask(message(owner.id, 'hello')), { code: 201 })
    await gateway.close()
  }
})
