import t from 'tap'
import { GatewayError } from '../../src/core/errors.js'
import { createLogger } from '../../src/core/log.js'
import { Metrics } from '../../src/core/metrics.js'
import { type InboxRow, type NewMessage, type Permissions, pairConversation } from '../../src/core/model.js'
import { TurnEnd } from '../../src/flow/turn-end.js'
import type { Cursors } from '../../src/inbox/cursors.js'
import { Inbox } from '../../src/inbox/inbox.js'
import type { Retention } from '../../src/inbox/retention.js'
import type { Appended, InboxLog } from '../../src/store/store.js'

/** An inbox over a store whose appends the test answers, and the order of events. */
function setUp(turnEnd = new TurnEnd()) {
  const batches: string[][] = []
  const answers: { ok(): void; fail(thrown: unknown): void }[] = []
  const events: string[] = []
  let seq = 0
  /** What `appendNow` does: nothing, unless it `appends`. */
  const now: { appends: boolean; thrown: GatewayError | undefined } = { appends: false, thrown: undefined }
  const result = ({ id, dedupKey }: NewMessage): Appended => ({
    id,
    seq: ++seq,
    repeat: dedupKey === 'again',
  })
  const store = {
    appendNow(batch: readonly NewMessage[]): Appended[] | undefined {
      if (!now.appends) return undefined
      if (now.thrown !== undefined) throw now.thrown
      return batch.map(result)
    },
    append: (batch: readonly NewMessage[]) =>
      new Promise<Appended[]>((resolve, reject) => {
        batches.push(batch.map(({ id }) => id))
        const ok = () => resolve(batch.map(result))
        answers.push({ ok, fail: reject })
      }),
  }
  const logs: Record<string, unknown>[] = []
  const log = createLogger(
    { level: 'debug', pretty: 'never' },
    { write: line => logs.push(JSON.parse(line)) },
  )
  const metrics = new Metrics()
  const retention = {
    accepted: () => undefined,
    refused: () => undefined,
    appended: ({ inbox }: NewMessage, seq: number) => void events.push(`retention ${inbox} ${seq}`),
  }
  const inbox = new Inbox(
    store as unknown as InboxLog,
    {} as Cursors,
    retention as unknown as Retention,
    metrics,
    log,
    { maxWaitingBytes: 10_000_000, batchBytes: 1_000_000 },
    turnEnd,
  )
  const send = (id: string, differing: Partial<NewMessage> = {}, rights?: Permissions) => {
    const message = {
      inbox: 'ann',
      id,
      kind: 'message' as const,
      sender: 'bob',
      conversation: pairConversation('ann', 'bob'),
      text: `text of ${id}`,
      expiresAt: undefined,
    }
    inbox.send(
      { ...message, dedupKey: undefined, isFirst: true, ...differing },
      {
        stored: ({ seq }) => void events.push(`stored ${id} ${seq}`),
        failed: ({ kind }) => void events.push(`failed ${id} ${kind}`),
      },
      rights,
    )
  }
  const reader = (userId: string) => ({
    userId,
    front: 'json' as const,
    state: 'live' as const,
    offer: ({ seq, id, text }: InboxRow) => events.push(`offered ${userId} ${seq} ${id} ${text}`) > 0,
    touch: () => undefined,
    device: '',
    stateOf: () => undefined,
  })
  return { inbox, send, batches, answers, events, logs, reader, now }
}

const turn = () => new Promise(resolve => setImmediate(resolve))

t.test('the messages of one turn are one append; those that arrive meanwhile are the next', async t => {
  const { send, batches, answers } = setUp()
  for (const id of ['1', '2', '3']) send(id)
  t.same(batches, [])
  await turn()
  send('4')
  await turn()
  send('5')
  await turn()
  t.same(batches, [['1', '2', '3']])
  answers[0]?.ok()
  await turn()
  await turn()
  t.same(batches, [
    ['1', '2', '3'],
    ['4', '5'],
  ])
})

t.test(
  'messages are answered when stored, then offered, in the order of sending; retention is told',
  async t => {
    const { inbox, send, answers, events, reader } = setUp()
    inbox.attach(reader('ann'))
    send('1')
    send('2', { inbox: 'eve' })
    send('3')
    await turn()
    t.same(events, [])
    answers[0]?.ok()
    await turn()
    t.same(events, [
      'stored 1 1',
      'offered ann 1 1 text of 1',
      'retention ann 1',
      'stored 2 2',
      'retention eve 2',
      'stored 3 3',
      'offered ann 3 3 text of 3',
      'retention ann 3',
    ])
  },
)

t.test('a repeat is answered and not offered again', async t => {
  const { inbox, send, answers, events, reader } = setUp()
  inbox.attach(reader('ann'))
  send('1', { dedupKey: 'again' })
  await turn()
  answers[0]?.ok()
  await turn()
  t.same(events, ['stored 1 1'])
})

t.test(
  'a failed append fails each of its messages, offers none, is logged, and the next one works',
  async t => {
    const { inbox, send, answers, events, logs, reader } = setUp()
    inbox.attach(reader('ann'))
    for (const id of ['1', '2']) send(id)
    await turn()
    send('3')
    answers[0]?.fail(new GatewayError('STORE_FULL'))
    await turn()
    t.same(events, ['failed 1 STORE_FULL', 'failed 2 STORE_FULL'])
    t.match(logs, [{ level: 'error', event: 'store.failed', operation: 'append', messages: 2 }])
    await turn()
    answers[1]?.fail(new Error('unforeseen'))
    await turn()
    t.equal(events.at(-1), 'failed 3 STORE_UNAVAILABLE')
    send('4')
    await turn()
    answers[2]?.ok()
    await turn()
    t.same(events.slice(3), ['stored 4 1', 'offered ann 1 4 text of 4', 'retention ann 1'])
  },
)

t.test('drained resolves when everything accepted is answered, and at once when nothing is', async t => {
  const { inbox, send, answers } = setUp()
  await inbox.drained()
  send('1')
  let isDrained = false
  const drained = inbox.drained().then(() => {
    isDrained = true
  })
  await turn()
  send('2')
  answers[0]?.ok()
  await turn()
  await turn()
  t.equal(isDrained, false, 'the second is still under way')
  answers[1]?.ok()
  await drained
})

t.test(
  'a store that need not wait is asked first, and all that its answer writes leaves in that turn',
  async t => {
    const turnEnd = new TurnEnd()
    const { send, batches, answers, events, now, inbox, reader } = setUp(turnEnd)
    inbox.attach({
      ...reader('ann'),
      offer: () => {
        turnEnd.add(() => events.push('written'))
        return true
      },
    })
    now.appends = true
    send('1')
    send('2')
    await turn()
    t.same(events, ['stored 1 1', 'retention ann 1', 'stored 2 2', 'retention ann 2', 'written', 'written'])
    for (let i = 0; i < 20_000; i++) send(`${i}`)
    let turns = 0
    for (let before = -1; before < events.length; turns++) {
      before = events.length
      await turn()
    }
    t.ok(turns > 3, 'the batches of a long backlog do not follow each other in one turn')
    now.thrown = new GatewayError('STORE_FULL')
    send('3')
    await turn()
    t.equal(events.at(-1), 'failed 3 STORE_FULL')
    now.appends = false
    send('4')
    await turn()
    t.same(batches, [['4']])
    answers[0]?.ok()
    await inbox.drained()
    t.equal(events.at(-1), 'written')
  },
)

t.test('all readers of an inbox get each row; one that left gets none', async t => {
  const { inbox, send, answers, events, reader } = setUp()
  const readers = [reader('ann'), reader('ann')]
  for (const one of readers) inbox.attach(one)
  send('1')
  await turn()
  answers[0]?.ok()
  await turn()
  t.equal(events.filter(event => event.startsWith('offered')).length, 2)
  for (const one of readers) inbox.detach(one)
  send('2')
  await turn()
  answers[1]?.ok()
  await turn()
  t.equal(events.filter(event => event.startsWith('offered')).length, 2)
})

t.test('a reader that leaves while a row is offered does not affect the others', async t => {
  const { inbox, send, answers, events, reader } = setUp()
  const leaving = {
    userId: 'ann',
    front: 'json' as const,
    state: 'live' as const,
    offer: () => {
      inbox.detach(leaving)
      return true
    },
    touch: () => undefined,
    device: '',
    stateOf: () => undefined,
  }
  inbox.attach(leaving)
  inbox.attach(reader('ann'))
  send('1')
  await turn()
  answers[0]?.ok()
  await turn()
  t.ok(events.some(event => event.startsWith('offered')))
})

t.test('a burst larger than one commit is stored by several, each sender in order', async t => {
  const { send, batches, answers } = setUp()
  const ids = Array.from({ length: 10_000 }, (_, i) => `${i}`)
  for (const id of ids) send(id, { sender: `sender ${Number(id) % 7}` })
  for (let i = 0; i < answers.length + 1 && batches.flat().length < ids.length; i++) {
    await turn()
    answers[i]?.ok()
    await turn()
    await turn()
  }
  const stored = batches.flat()
  t.equal(stored.length, ids.length)
  for (let sender = 0; sender < 7; sender++) {
    const own = (all: readonly string[]) => all.filter(id => Number(id) % 7 === sender)
    t.same(own(stored), own(ids))
  }
  t.ok(batches.length > 1 && batches.every(batch => batch.length <= 8192))
})
