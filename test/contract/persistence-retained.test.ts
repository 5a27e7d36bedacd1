import t from 'tap'
import { all, payloads, retained, STORES, start, WatchedKv } from '../helpers/broker-persistence.js'
import { ofKind } from '../helpers/kind.js'

for (const { name, open } of STORES) {
  t.test(`${name}: a filter without wildcards reads one message and iterates over none`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const persistence = await start(kv)
    for (let i = 0; i < 100; i++) await persistence.storeRetained(retained(`t/${i}`))
    kv.reset()
    t.same(payloads(await all(persistence.createRetainedStream('t/42'))), ['t/42'])
    t.equal(kv.gets, 1)
    t.equal(kv.walked, 0)
  })

  t.test(
    `${name}: a wildcard filter iterates only over topics with the levels before the wildcard`,
    async t => {
      const kv = new WatchedKv((await open(t)).kv)
      const persistence = await start(kv)
      const topics = ['a', 'a/b', 'a/b/c', 'a/bc/d', 'b/a', 'b/b']
      for (const topic of topics) await persistence.storeRetained(retained(topic))
      kv.reset()
      t.same(payloads(await all(persistence.createRetainedStream('a/b/#'))), ['a/b', 'a/b/c'])
      t.equal(kv.walked, 2)
      kv.reset()
      t.same(payloads(await all(persistence.createRetainedStream('a/+/d'))), ['a/bc/d'])
      t.equal(kv.walked, 4)
    },
  )

  t.test(
    `${name}: however many filters there are, keys are looked at once, and values that none matches are not read`,
    async t => {
      const kv = new WatchedKv((await open(t)).kv)
      const persistence = await start(kv)
      const text = 'x'.repeat(100_000)
      for (let i = 0; i < 20; i++) await persistence.storeRetained(retained(`t/${i}`, text))
      await persistence.storeRetained(retained('u/1'))
      kv.reset()
      const filters = Array.from({ length: 500 }, (_, i) => `+/none/${i}`)
      t.same(await all(persistence.createRetainedStreamCombi(filters)), [])
      t.same([kv.walked, kv.valueBytes], [21, 0])
      const found = persistence.createRetainedStreamCombi(['+/1', 'u/1', 'u/+', '+/1', 't/1', 't/3'])
      t.same((await all(found)).map(({ topic }) => topic).sort(), ['t/1', 't/3', 'u/1'], 'each once')
    },
  )

  t.test(
    `${name}: + matches an empty level, # its parent, and neither a topic that begins with $`,
    async t => {
      const persistence = await start((await open(t)).kv)
      const topics = ['/', '/finance', 'a', 'a/', 'a//b', 'a/x/b', '$x', '$x/y']
      for (const topic of topics) await persistence.storeRetained(retained(topic))
      const matching = async (filter: string) =>
        payloads(await all(persistence.createRetainedStream(filter))).sort()
      t.same(await matching('/+'), ['/', '/finance'])
      t.same(await matching('+/+'), ['/', '/finance', 'a/'])
      t.same(await matching('a/+/b'), ['a//b', 'a/x/b'])
      t.same(await matching('a/#'), ['a', 'a/', 'a//b', 'a/x/b'])
      t.same(await matching('#'), ['/', '/finance', 'a', 'a/', 'a//b', 'a/x/b'])
      t.same(await matching('+'), ['a'])
      t.same(await matching('$x/#'), ['$x', '$x/y'])
    },
  )

  t.test(
    `${name}: a filter that iterates over many messages and matches few yields to other work`,
    async t => {
      const persistence = await start((await open(t)).kv)
      const topics = Array.from({ length: 2000 }, (_, i) => `t/${i}`)
      await Promise.all(topics.map(topic => persistence.storeRetained(retained(topic))))
      let isDone = false
      const search = all(persistence.createRetainedStream('+/none')).then(found => {
        isDone = true
        return found
      })
      for (let turn = 0; turn < 3; turn++) {
        await new Promise(resolve => setImmediate(resolve))
        t.notOk(isDone, 'the event loop turns, and the search still goes on')
      }
      t.same(await search, [])
    },
  )

  t.test(`${name}: topics beyond U+00FF are found, also under #, after a restart`, async t => {
    const store = await open(t)
    const before = await start(store.kv)
    const topics = ['é/1', 'Ā', 'ä¸­/文', '訊息/😀', '😀']
    for (const topic of topics) await before.storeRetained(retained(topic))
    const after = await start(store.kv)
    for (const topic of topics) t.same(payloads(await all(after.createRetainedStream(topic))), [topic])
    t.same(payloads(await all(after.createRetainedStream('#'))).sort(), [...topics].sort())
  })

  t.test(`${name}: a topic that matches two filters of a SUBSCRIBE is delivered once`, async t => {
    const persistence = await start((await open(t)).kv)
    for (const topic of ['a/b', 'a/c']) await persistence.storeRetained(retained(topic))
    const stream = persistence.createRetainedStreamCombi(['a/b', 'a/+', '#'])
    t.same(payloads(await all(stream)), ['a/b', 'a/c'])
  })

  t.test(`${name}: a message that could not be stored is not reported as stored`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const persistence = await start(kv)
    kv.isFailing = true
    await t.rejects(persistence.storeRetained(retained('t')), ofKind('STORE_UNAVAILABLE'))
    kv.isFailing = false
    t.same(await all(persistence.createRetainedStream('t')), [])
  })

  t.test(`${name}: the last of concurrent messages to one topic is retained, and counted once`, async t => {
    const persistence = await start((await open(t)).kv, { maxRetained: 2 })
    const texts = Array.from({ length: 50 }, (_, i) => String(i))
    await Promise.all(texts.map(text => persistence.storeRetained(retained('t', text))))
    t.same(payloads(await all(persistence.createRetainedStream('t'))), ['49'])
    await persistence.storeRetained(retained('second'))
    await t.rejects(persistence.storeRetained(retained('third')), ofKind('STORE_FULL'))
  })

  t.test(`${name}: over maxRetained a new topic is refused; replacing and removing work`, async t => {
    const store = await open(t)
    const before = await start(store.kv, { maxRetained: 2 })
    await before.storeRetained(retained('a'))
    await before.storeRetained(retained('b'))
    const after = await start(store.kv, { maxRetained: 2 })
    await t.rejects(after.storeRetained(retained('c')), ofKind('STORE_FULL'))
    await after.storeRetained(retained('a', 'again'))
    await after.storeRetained(retained('b', ''))
    await after.storeRetained(retained('c'))
    t.same(payloads(await all(after.createRetainedStream('#'))), ['again', 'c'])
  })

  t.test(`${name}: each account has its own limit; a message counts for its last publisher`, async t => {
    const store = await open(t)
    const limits = { accountRetained: 2, accountRetainedBytes: 2000 }
    const put = (persistence: { storeRetained(packet: object): Promise<void> }, owner: string) => {
      return (topic: string, payload = 'x') =>
        persistence.storeRetained({ ...retained(topic, payload), owner })
    }
    const before = await start(store.kv, limits)
    for (const topic of ['a', 'b']) await put(before, 'ann')(topic)
    const after = await start(store.kv, limits)
    const [ann, bob] = [put(after, 'ann'), put(after, 'bob')]
    await t.rejects(ann('c'), ofKind('STORE_FULL', { limit: 'mqtt.accountRetained' }))
    await ann('a', 'again')
    await bob('c')
    await bob('a', 'taken over')
    await ann('d')
    await t.rejects(ann('c'), ofKind('STORE_FULL', { limit: 'mqtt.accountRetained' }), 'what another has')
    await t.rejects(bob('b'), ofKind('STORE_FULL', { limit: 'mqtt.accountRetained' }))
    await t.rejects(ann('d', 'x'.repeat(3000)), ofKind('STORE_FULL', { limit: 'mqtt.accountRetainedBytes' }))
    await ann('d', '')
    await ann('e', 'x'.repeat(1000))
    await after.storeRetained(retained('nobody knows whose'))
  })

  t.test(`${name}: over maxRetainedBytes a message that needs more room is refused`, async t => {
    const persistence = await start((await open(t)).kv, { maxRetainedBytes: 2000 })
    await persistence.storeRetained(retained('a', 'x'.repeat(1000)))
    await t.rejects(persistence.storeRetained(retained('b', 'x'.repeat(1000))), ofKind('STORE_FULL'))
    await t.rejects(persistence.storeRetained(retained('a', 'x'.repeat(3000))), ofKind('STORE_FULL'))
    await persistence.storeRetained(retained('a', 'x'))
    await persistence.storeRetained(retained('b', 'x'.repeat(1000)))
    t.equal((await all(persistence.createRetainedStream('+'))).length, 2)
  })

  t.test(`${name}: messages that could not be stored take no room`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const persistence = await start(kv, { maxRetained: 1 })
    const write = kv.kvWrite
    kv.kvWrite = async () => {
      throw new Error('no')
    }
    await t.rejects(persistence.storeRetained(retained('a')))
    kv.kvWrite = write
    await persistence.storeRetained(retained('b'))
    t.equal((await all(persistence.createRetainedStream('#'))).length, 1)
  })
}
