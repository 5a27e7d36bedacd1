/** Inbox logs, one per user. Part of store.contract.ts. */
import type { Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { type NewMessage, pairConversation, type UserId } from '../../src/core/model.js'
import type { Store } from '../../src/store/store.js'
import {
  ANN,
  BOB,
  broadcast,
  EVE,
  message,
  messages,
  type OpenStore,
  rowOf,
  user,
} from '../helpers/store-samples.js'

export function inboxContract(t: Test, open: OpenStore): void {
  appending(t, open)
  repeating(t, open)
  trimming(t, open)
  conversing(t, open)
  sharing(t, open)
}

const seqs = async (store: Store, userId: UserId, after: number, limit: number) =>
  (await store.inbox.readInbox(userId, after, limit)).map(({ seq }) => seq)

function appending(t: Test, open: OpenStore): void {
  t.test('numbers each inbox separately, and answers in the order of the batch', async t => {
    const { store } = await open(t)
    const batch = [message(ANN, BOB), message(BOB, ANN), message(ANN, BOB), message(EVE, EVE)]
    const results = await store.inbox.append(batch)
    t.same(
      results,
      [1, 1, 2, 1].map((seq, i) => ({ seq, id: batch[i]?.id, repeat: false })),
    )
    t.match(await store.inbox.append([message(ANN, BOB)]), [{ seq: 3 }])
    t.same(await store.inbox.append([]), [])
  })

  t.test('keeps 1,000 messages of many batches in order and without a gap', async t => {
    const { store } = await open(t)
    const sent = messages(1000)
    for (let i = 0, size = 1; i < sent.length; i += size, size = (size * 3) % 64 || 1) {
      await store.inbox.append(sent.slice(i, i + size))
    }
    const rows = await store.inbox.readInbox(BOB, 0, 2000)
    t.same(
      rows,
      sent.map((one, i) => rowOf(one, i + 1)),
    )
  })

  t.test('keeps when a message expires', async t => {
    const { store, reopen } = await open(t)
    const sent = [1_700_000_000_000, undefined, Date.now() + 4_294_967_295_000].map(expiresAt =>
      message(ANN, BOB, { expiresAt }),
    )
    await store.inbox.append(sent)
    const rows = sent.map((one, i) => rowOf(one, i + 1))
    t.same(await store.inbox.readInbox(BOB, 0, 10), rows)
    t.same(await (await reopen()).inbox.readInbox(BOB, 0, 10), rows)
  })

  t.test('uses no seq twice for concurrent batches', async t => {
    const { store } = await open(t)
    const results = await Promise.all(Array.from({ length: 20 }, () => store.inbox.append(messages(10))))
    t.same(
      results.flat().map(({ seq }) => seq),
      Array.from({ length: 200 }, (_, i) => i + 1),
    )
    t.equal((await store.inbox.readInbox(BOB, 0, 1000)).length, 200)
  })

  t.test('returns all fields unchanged', async t => {
    const { store } = await open(t)
    const contents = [
      '',
      '中文',
      '😀',
      '\\u0000\\ud800',
      '\u007f\u0080\uffff',
      'x'.repeat(70_000),
      '中'.repeat(22_000),
    ]
    const texts = contents.map(content => `{"sender":"${ANN}","recipient":"${BOB}","content":"${content}"}`)
    await store.inbox.append(texts.map(text => message(ANN, BOB, { text })))
    t.same(
      (await store.inbox.readInbox(BOB, 0, 100)).map(row => row.text),
      texts,
    )
  })

  t.test('reads pages: none, one, all, past the end', async t => {
    const { store } = await open(t)
    await store.inbox.append(messages(10))
    t.same(await seqs(store, BOB, 0, 0), [])
    t.same(await seqs(store, BOB, 0, 1), [1])
    t.same(await seqs(store, BOB, 3, 4), [4, 5, 6, 7])
    t.same(await seqs(store, BOB, 7, 3), [8, 9, 10])
    t.same(await seqs(store, BOB, 7, 100), [8, 9, 10])
    t.same(await seqs(store, BOB, 10, 100), [])
    t.same(await seqs(store, BOB, 11, 100), [])
    t.same(await seqs(store, EVE, 0, 100), [])
    t.same(await seqs(store, 'nobody', 0, 100), [])
  })

  t.test('keeps users with similar ids apart', async t => {
    const { store } = await open(t)
    const ids = ['100000001', '100000002', '100000010', '100000100', '999999999']
    await store.inbox.append(ids.flatMap(id => messages(3, ANN, id)))
    for (const id of ids) {
      const rows = await store.inbox.readInbox(id, 0, 100)
      t.equal(rows.length, 3)
      for (const { text } of rows) t.match(text, `"recipient":"${id}"`)
      t.equal(await store.inbox.lastSeq(id), 3)
    }
  })
}

function repeating(t: Test, open: OpenStore): void {
  /** All of them say the same, at different times. */
  const keyed = (dedupKey: string, differing: Partial<NewMessage> = {}) => {
    const at = `2019-07-12T09:08:${String(made++ % 60).padStart(2, '0')}Z`
    const text = `{"sender":"${ANN}","recipient":"${BOB}","content":"again","created_at":"${at}"}`
    return message(ANN, BOB, { dedupKey, text, ...differing })
  }
  let made = 0

  t.test('stores a message with a known key and another content, which then has the key', async t => {
    const { store } = await open(t)
    const other = message(ANN, BOB, { dedupKey: 'a' })
    const elsewhere = message(ANN, EVE, { dedupKey: 'a' })
    const first = await store.inbox.append([keyed('a'), other, elsewhere])
    t.match(first, [
      { seq: 1, repeat: false },
      { seq: 2, repeat: false },
      { seq: 1, repeat: false },
    ])
    t.match(await store.inbox.append([{ ...elsewhere, id: other.id }]), [
      { seq: 1, id: elsewhere.id, repeat: true },
    ])
    t.match(await store.inbox.append([other]), [{ seq: 3, repeat: false }])
    t.match(await store.inbox.append([other]), [{ seq: 3, repeat: true }])
  })

  t.test('stores a message with a known key once, within a batch and across batches', async t => {
    const { store } = await open(t)
    const [first, repeat, other] = [keyed('a 1'), keyed('a 1'), keyed('a 11')]
    const results = await store.inbox.append([message(ANN, BOB), first, repeat, other])
    t.same(results, [
      { seq: 1, id: results[0]?.id, repeat: false },
      { seq: 2, id: first.id, repeat: false },
      { seq: 2, id: first.id, repeat: true },
      { seq: 3, id: other.id, repeat: false },
    ])
    t.same(await store.inbox.append([keyed('a 1'), keyed('a')]), [
      { seq: 2, id: first.id, repeat: true },
      { seq: 4, id: (await store.inbox.readInbox(BOB, 3, 1))[0]?.id, repeat: false },
    ])
    t.equal(await store.inbox.lastSeq(BOB), 4)
  })

  t.test('stores a message marked as first without a look-up, and remembers its key', async t => {
    const { store } = await open(t)
    const first = keyed('a', { isFirst: true })
    const reused = keyed('a', { isFirst: true })
    await store.inbox.append([keyed('a'), first])
    t.match(await store.inbox.append([keyed('a')]), [{ seq: 2, id: first.id, repeat: true }])
    t.match(await store.inbox.append([reused, keyed('a')]), [
      { seq: 3, id: reused.id, repeat: false },
      { seq: 3, id: reused.id, repeat: true },
    ])
  })

  t.test('distinguishes keys that differ in any one character', async t => {
    const { store } = await open(t)
    const keys = [
      'k',
      'K',
      'k ',
      'k\u0000',
      'k\u0000\u0000',
      'k\u0001',
      'é',
      'e\u0301',
      '\ufffd',
      '\ud800',
      '\ud801',
      '😀',
      '',
    ]
    const results = await store.inbox.append(keys.map(key => keyed(key)))
    t.same(
      results.filter(({ repeat }) => repeat),
      [],
    )
    const repeats = await store.inbox.append(keys.map(key => keyed(key)))
    t.same(
      repeats.map(({ seq, repeat }) => (repeat ? seq : undefined)),
      keys.map((_, i) => i + 1),
    )
  })

  t.test('does not store a message that must be a repeat and is none', async t => {
    const { store } = await open(t)
    const first = keyed('a')
    await store.inbox.append([first])
    const batch = [keyed('a', { mustRepeat: true }), keyed('b', { mustRepeat: true }), keyed('c')]
    t.match(await store.inbox.append(batch), [
      { seq: 1, id: first.id, repeat: true },
      { repeat: false, isFull: true },
      { seq: 2, repeat: false },
    ])
    t.equal(await store.inbox.lastSeq(BOB), 2)
    t.match(await store.inbox.append([keyed('b')]), [{ seq: 3, repeat: false }], 'nor is its key')
  })

  t.test('refuses a message that has the key of another one, where keys are exact', async t => {
    const { store, reopen } = await open(t)
    const exact = { isKeyExact: true }
    const said = (key: string, inbox = BOB, content = 'again') => {
      const text = `{"sender":"${ANN}","recipient":"${inbox}","content":"${content}","created_at":"2019-07-12T09:08:07Z"}`
      return message(ANN, inbox, { dedupKey: key, text, ...exact })
    }
    const first = said('a')
    const other = { repeat: false, isOther: true }
    const stored = { seq: 1, id: first.id, repeat: true }
    t.match(await store.inbox.append([first, said('a'), said('a', BOB, 'x'), said('a', EVE)]), [
      { seq: 1, repeat: false },
      stored,
      other,
      other,
    ])
    const ask = [said('a'), said('a', BOB, 'x'), said('a', EVE), { ...said('a', EVE), mustRepeat: true }]
    t.match(await store.inbox.append(ask), [stored, other, other, other], 'across batches')
    const again = await reopen()
    t.match(await again.inbox.append(ask), [stored, other, other, other], 'after it was reopened')
    t.match([await again.inbox.lastSeq(BOB), await again.inbox.lastSeq(EVE)], [1, 0])
    t.match(await again.inbox.append([said('b', EVE)]), [{ seq: 1, repeat: false }], 'another key')
    await again.inbox.trimInbox(BOB, 1, 10)
    t.match(await again.inbox.append([said('a')]), [{ seq: 2, repeat: false }], 'the first was removed')
  })

  t.test('knows a key after it was reopened', async t => {
    const opened = await open(t)
    const first = keyed('a')
    await opened.store.inbox.append([first])
    const store = await opened.reopen()
    t.same(await store.inbox.append([keyed('a')]), [{ seq: 1, id: first.id, repeat: true }])
  })

  t.test('forgets a key after the window, which a repeat does not extend', async t => {
    const { store } = await open(t, { dedupWindowMs: 500 })
    const started = Date.now()
    await store.inbox.append([keyed('a')])
    let repeats = 0
    for (;;) {
      const [result] = await store.inbox.append([keyed('a')])
      if (result?.repeat === false) break
      repeats++
    }
    t.ok(repeats > 0, 'known at first')
    t.ok(Date.now() - started >= 500, 'for all of the window')
    t.equal(await store.inbox.lastSeq(BOB), 2)
    t.match(await store.inbox.append([keyed('a')]), [{ seq: 2, repeat: true }], 'and is known anew')
  })
}

function trimming(t: Test, open: OpenStore): void {
  t.test('knows first and last seq of an empty inbox', async t => {
    const { store } = await open(t)
    t.equal(await store.inbox.lastSeq(BOB), 0)
    t.equal(await store.inbox.firstSeq(BOB), 1)
    t.equal(await store.inbox.trimInbox(BOB, 100, 100), 0)
    t.equal(await store.inbox.firstSeq(BOB), 1)
  })

  t.test('trims from the front, at most `limit` rows at once', async t => {
    const { store } = await open(t)
    await store.inbox.append([...messages(10), ...messages(2, BOB, ANN)])
    t.equal(await store.inbox.trimInbox(BOB, 7, 3), 3)
    t.same(await seqs(store, BOB, 0, 100), [4, 5, 6, 7, 8, 9, 10])
    t.equal(await store.inbox.firstSeq(BOB), 4)
    t.equal(await store.inbox.trimInbox(BOB, 7, 100), 4)
    t.equal(await store.inbox.trimInbox(BOB, 7, 100), 0)
    t.equal(await store.inbox.trimInbox(BOB, 8, 0), 0)
    t.same(await seqs(store, BOB, 0, 100), [8, 9, 10])
    t.equal(await store.inbox.lastSeq(BOB), 10)
    t.same(await seqs(store, ANN, 0, 100), [1, 2])
  })

  t.test('never reuses a seq, even after all rows were trimmed and it was reopened', async t => {
    const opened = await open(t)
    await opened.store.inbox.append(messages(5))
    t.equal(await opened.store.inbox.trimInbox(BOB, Number.MAX_SAFE_INTEGER, 100), 5)
    t.equal(await opened.store.inbox.lastSeq(BOB), 5)
    t.equal(await opened.store.inbox.firstSeq(BOB), 6)

    const store = await opened.reopen()
    t.equal(await store.inbox.lastSeq(BOB), 5)
    t.equal(await store.inbox.firstSeq(BOB), 6)
    t.match(await store.inbox.append(messages(1)), [{ seq: 6 }])
    t.same(await seqs(store, BOB, 0, 100), [6])
  })

  t.test('trims while it appends', async t => {
    const { store } = await open(t)
    for (let i = 0; i < 20; i++) {
      await Promise.all([
        store.inbox.append(messages(10)),
        store.inbox.trimInbox(BOB, i * 10, 100),
        store.inbox.trimInbox(BOB, i * 5, 7),
      ])
    }
    const rows = await seqs(store, BOB, 0, 1000)
    t.same(
      rows,
      Array.from({ length: rows.length }, (_, i) => 201 - rows.length + i),
    )
    t.equal(await store.inbox.firstSeq(BOB), rows[0])
    t.equal(await store.inbox.lastSeq(BOB), 200)
  })
}

function conversing(t: Test, open: OpenStore): void {
  t.test('reads a conversation newest first, both ways, and nothing else', async t => {
    const { store } = await open(t)
    const talk = [message(ANN, BOB), message(BOB, ANN), message(ANN, BOB)]
    await store.inbox.append([message(ANN, EVE), ...talk, message(EVE, BOB), broadcast(ANN, BOB)])
    const [first, answer, last] = talk
    if (first === undefined || answer === undefined || last === undefined) return
    const expected = [
      { inbox: BOB, row: rowOf(last, 2) },
      { inbox: ANN, row: rowOf(answer, 1) },
      { inbox: BOB, row: rowOf(first, 1) },
    ]
    t.same(await store.inbox.readConversation(pairConversation(ANN, BOB), 10), expected)
    t.same(await store.inbox.readConversation(pairConversation(BOB, ANN), 10), expected)
    t.same(await store.inbox.readConversation(pairConversation(BOB, '555555555'), 10), [])
    t.same(await store.inbox.readConversation(pairConversation('nobody', 'none'), 10), [])
  })

  t.test('reads a conversation in pages', async t => {
    const { store } = await open(t)
    const talk = messages(7)
    await store.inbox.append(talk)
    const ids = async (limit: number, before?: string) =>
      (await store.inbox.readConversation(pairConversation(ANN, BOB), limit, before)).map(({ row }) =>
        talk.findIndex(({ id }) => id === row.id),
      )
    t.same(await ids(0), [])
    t.same(await ids(1), [6])
    t.same(await ids(3), [6, 5, 4])
    t.same(await ids(3, talk[4]?.id), [3, 2, 1])
    t.same(await ids(100, talk[1]?.id), [0])
    t.same(await ids(100, talk[0]?.id), [])
    t.same(await ids(2, 'ffffffff-ffff-7fff-bfff-ffffffffffff'), [6, 5], 'before one that is not there')
  })

  t.test('keeps messages to oneself', async t => {
    const { store } = await open(t)
    await store.inbox.append([message(ANN, ANN), message(ANN, BOB), message(ANN, ANN)])
    t.match(await store.inbox.readConversation(pairConversation(ANN, ANN), 10), [
      { inbox: ANN, row: { seq: 2 } },
      { inbox: ANN, row: { seq: 1 } },
    ])
  })

  t.test('removes trimmed messages from their conversation', async t => {
    const { store } = await open(t)
    await store.inbox.append([...messages(4), ...messages(2, BOB, ANN)])
    await store.inbox.trimInbox(BOB, 3, 100)
    const left = (await store.inbox.readConversation(pairConversation(ANN, BOB), 10)).map(
      ({ inbox, row }) => [inbox, row.seq],
    )
    t.same(left, [
      [ANN, 2],
      [ANN, 1],
      [BOB, 4],
    ])
  })
}

/** A broadcast as it goes to these. @param text as long as it should be */
function broadcastTo(inboxes: readonly UserId[], content: string, id = uuidv7()): NewMessage[] {
  const text = `{"sender":"${ANN}","content":${JSON.stringify(content)},"created_at":"2019-07-12T09:08:10Z"}`
  return inboxes.map(inbox => message(ANN, inbox, { id, kind: 'broadcast', conversation: undefined, text }))
}

function sharing(t: Test, open: OpenStore): void {
  t.test('a broadcast is complete in every inbox, over several appends, and after reopening', async t => {
    const opened = await open(t)
    const [toBob, toEve] = broadcastTo([BOB, EVE], '中'.repeat(20_000))
    if (toBob === undefined || toEve === undefined) return
    const own = message(EVE, BOB)
    await opened.store.inbox.append([own, toBob])
    await opened.store.inbox.append([toEve])
    for (const reopen of [async () => opened.store, opened.reopen]) {
      const store = await reopen()
      t.same(await store.inbox.readInbox(BOB, 0, 10), [rowOf(own, 1), rowOf(toBob, 2)])
      t.same(await store.inbox.readInbox(EVE, 0, 10), [rowOf(toBob, 1)])
    }
  })

  t.test('the limit of characters of a page counts broadcasts, too', async t => {
    const { store } = await open(t)
    for (let i = 0; i < 5; i++) await store.inbox.append(broadcastTo([BOB], 'x'.repeat(1000)))
    t.equal((await store.inbox.readInbox(BOB, 0, 10, 2500)).length, 3)
    t.equal((await store.inbox.readInbox(BOB, 0, 10, 1)).length, 1)
  })

  t.test('a broadcast stays in other inboxes if one is trimmed or one account deleted', async t => {
    const { store } = await open(t)
    await store.users.createUser(user(EVE))
    const old = uuidv7({ msecs: Date.now() - 86_400_000 })
    const [first] = broadcastTo([BOB], 'to all', old)
    if (first === undefined) return
    await store.inbox.append(broadcastTo([ANN, BOB, EVE], 'to all', old))
    await store.inbox.trimInbox(ANN, 1, 100)
    await store.users.deleteUser(EVE)
    t.same(await store.inbox.readInbox(ANN, 0, 10), [])
    t.same(await store.inbox.readInbox(BOB, 0, 10), [rowOf(first, 1)])
    await store.inbox.trimInbox(BOB, 1, 100)
    await store.inbox.append(broadcastTo([BOB], 'to all', old))
    t.same(await store.inbox.readInbox(BOB, 0, 10), [rowOf(first, 2)])
  })

  t.test('a broadcast with the key of an earlier one is its repeat', async t => {
    const { store } = await open(t)
    const [first] = broadcastTo([BOB], 'once').map(one => ({ ...one, dedupKey: 'b' }))
    const [second] = broadcastTo([BOB], 'once').map(one => ({ ...one, dedupKey: 'b' }))
    if (first === undefined || second === undefined) return
    await store.inbox.append([first])
    t.match(await store.inbox.append([second]), [{ seq: 1, id: first.id, repeat: true }])
  })

  t.test('counts the bytes of an inbox after appends, trimming and reopening', async t => {
    const opened = await open(t)
    const { store } = opened
    const bytes = (all: readonly NewMessage[]) =>
      all.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)
    t.equal(await store.inbox.inboxBytes(BOB), 0)
    const sent = [...messages(3), ...broadcastTo([BOB], '中'.repeat(100)), ...messages(2)]
    for (const one of sent) await store.inbox.append([one])
    t.equal(await store.inbox.inboxBytes(BOB), bytes(sent))
    for (let seq = 0; seq <= sent.length; seq++)
      t.equal(await store.inbox.inboxBytes(BOB, seq), bytes(sent.slice(seq)), `behind ${seq}`)
    await store.inbox.trimInbox(BOB, 2, 100)
    t.equal(await store.inbox.inboxBytes(BOB), bytes(sent.slice(2)))
    await store.inbox.trimInbox(BOB, 3, 100)
    t.equal(await store.inbox.inboxBytes(BOB), bytes(sent.slice(3)), 'a broadcast is first')
    const again = await opened.reopen()
    for (let seq = 0; seq <= sent.length; seq++)
      t.equal(await again.inbox.inboxBytes(BOB, seq), bytes(sent.slice(Math.max(3, seq))))
    await again.inbox.trimInbox(BOB, 100, 100)
    t.equal(await again.inbox.inboxBytes(BOB), 0)
    const more = messages(2)
    await again.inbox.append(more)
    t.equal(await again.inbox.inboxBytes(BOB), bytes(more))
    t.equal(await again.inbox.inboxBytes(EVE), 0)
  })
}
