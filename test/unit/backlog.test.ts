import t from 'tap'
import { type NewMessage, pairConversation } from '../../src/core/model.js'
import { Backlog } from '../../src/inbox/backlog.js'

const KB = 1000

function setUp(maxWaitingBytes = 10_000 * KB, batchBytes = 800 * KB) {
  const backlog = new Backlog<{ message: NewMessage; id: string }>({ maxWaitingBytes, batchBytes })
  let sent = 0
  const push = (sender: string, bytes: number, isBroadcast = false) => {
    const id = `${sender} ${++sent}`
    const text = 'x'.repeat(bytes)
    const kind = isBroadcast ? ('broadcast' as const) : ('message' as const)
    const conversation = isBroadcast ? undefined : pairConversation(sender, 'someone')
    const message = { inbox: 'someone', id, kind, sender, conversation, text, dedupKey: undefined }
    backlog.push({ message: { ...message, isFirst: true, expiresAt: undefined }, id })
  }
  const broadcast = (sender: string, bytes: number, count: number) => {
    for (let i = 0; i < count; i++) push(sender, bytes, true)
  }
  const take = () => backlog.take().map(({ id }) => id)
  return { backlog, push, broadcast, take }
}

const senderOf = (id: string) => id.split(' ')[0]

t.test('a message is stored before waiting broadcasts of other senders', async t => {
  const { push, broadcast, take, backlog } = setUp()
  broadcast('spam', 60 * KB, 1000)
  take()
  push('ann', 100)
  t.equal(take()[0], 'ann 1001')
  t.ok(backlog.length > 900, 'a batch has an eighth of its bytes for them')
})

t.test('a sender with many waiting messages delays only itself', async t => {
  const { push, take } = setUp()
  for (let i = 0; i < 100; i++) push('spam', 60 * KB)
  push('ann', 100)
  t.ok(take().some(id => senderOf(id) === 'ann'))
})

t.test('messages and broadcasts of one sender keep their order', async t => {
  const { push, broadcast, take, backlog } = setUp()
  for (let i = 0; i < 20_000; i++) {
    const sender = `${(i * 7919) % 13}`
    if (i % 5 === 0) broadcast(sender, i % 3000, 2)
    else push(sender, (i * 31) % 2000)
    if (i % 1000 === 0) take()
  }
  const all: string[] = []
  while (backlog.length > 0) all.push(...take())
  for (let sender = 0; sender < 13; sender++) {
    const own = all.filter(id => senderOf(id) === `${sender}`).map(id => Number(id.split(' ')[1]))
    t.same(
      own,
      [...own].sort((a, b) => a - b),
    )
  }
})

t.test('a batch is bounded in bytes, but has at least one message', async t => {
  const { push, take } = setUp()
  for (let i = 0; i < 30; i++) push(`sender ${i}`, 60 * KB)
  t.ok(take().length <= 15)
  const large = setUp()
  large.push('ann', 5000 * KB)
  large.push('ann', 5000 * KB)
  t.equal(large.take().length, 1)
  t.equal(large.take().length, 1)
})

t.test('one sender may use half of the backlog, two a third each; a new sender has room left', async t => {
  const { push, backlog } = setUp(1000 * KB)
  const fill = (...senders: string[]) => {
    for (let i = 0; i < 2000; i++)
      for (const sender of senders) if (!backlog.hasTooMuchWaiting(sender)) push(sender, 10 * KB)
  }
  fill('spam')
  const count = backlog.length
  t.ok(count > 40 && count < 60, `${count} of 100`)
  t.notOk(backlog.hasTooMuchWaiting('ann'))
  fill('spam', 'more')
  t.notOk(backlog.hasTooMuchWaiting('ann'))
  t.ok(backlog.length < 80)
  while (backlog.length > 0) backlog.take()
  t.notOk(backlog.hasTooMuchWaiting('spam'), 'with nothing waiting')
})

t.test('when the backlog is full, no message is accepted until another has left', async t => {
  const { push, backlog } = setUp(1000 * KB)
  for (let i = 0; i < 100; i++) push(`${i}`, 10 * KB)
  t.ok(backlog.hasTooMuchWaiting('ann'))
  backlog.take()
  t.notOk(backlog.hasTooMuchWaiting('ann'))
})

t.test('all copies of a broadcast count as one text of their sender', async t => {
  const { broadcast, backlog } = setUp(1000 * KB)
  broadcast('ann', 60 * KB, 1000)
  t.notOk(backlog.hasTooMuchWaiting('ann'))
})
