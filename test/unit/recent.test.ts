import t from 'tap'
import { recentMap } from '../../src/core/recent.js'
import { Several } from '../../src/core/several.js'

t.test('it keeps a number of entries, and evicts the least recently used', async t => {
  const map = recentMap<string, number>(3)
  for (const [i, key] of ['a', 'b', 'c'].entries()) map.set(key, i)
  map.get('a')
  map.set('d', 3)
  t.same(
    ['a', 'b', 'c', 'd'].map(key => map.has(key)),
    [true, false, true, true],
  )
  t.equal(map.size, 3)
})

t.test('entries expire after their ttl', async t => {
  const { now } = performance
  let passed = 0
  performance.now = () => now.call(performance) + passed
  t.teardown(() => void Object.assign(performance, { now }))
  const map = recentMap<string, number>(3, 1_000)
  map.set('a', 1)
  t.equal(map.get('a'), 1)
  passed = 2_000
  // The library looks at the clock once in a millisecond.
  await new Promise(resolve => setTimeout(resolve, 2))
  t.equal(map.get('a'), undefined)
})

t.test('an empty map with a large limit takes no memory', async t => {
  const before = process.memoryUsage().heapUsed
  const maps = Array.from({ length: 20 }, () => recentMap<string, number>(100_000))
  t.ok(process.memoryUsage().heapUsed - before < 10e6, `${maps.length} maps`)
})

t.test('Several: one value is kept as it is, more as a set, and none leaves no key', async t => {
  const all = new Several<string, object>()
  const [one, two] = [{}, {}]
  t.ok(all.add('a', one), 'the first')
  t.notOk(all.add('a', one), 'the same again')
  t.equal(all.get('a'), one)
  t.notOk(all.add('a', two))
  t.same(all.get('a'), new Set([one, two]))
  t.same(all.of('a'), [one, two])
  t.notOk(all.delete('a', one))
  t.notOk(all.delete('a', one), 'gone already')
  t.ok(all.delete('a', two), 'the last')
  t.notOk(all.has('a'))
  t.same([all.of('a'), all.get('a'), all.delete('a', two)], [[], undefined, false])
  all.add('b', two)
  t.notOk(all.delete('b', one), 'of another')
  t.same([...all.keys()], ['b'])
})
