import t from 'tap'
import { FairQueue, type Standing } from '../../src/flow/fair-queue.js'

/** A queue whose work ends on request, and the order in which the work began. */
function setUp(max = 1000) {
  const begun: string[] = []
  const ends: (() => void)[] = []
  let refused = 0
  const queue = new FairQueue({ concurrency: 1, max, onFull: () => refused++ })
  const add = (group: string, standing: Standing, name = group, isWanted?: () => boolean) =>
    queue
      .run(
        { group, standing },
        () => {
          begun.push(name)
          return new Promise<void>(resolve => ends.push(resolve))
        },
        isWanted,
      )
      .catch(error => void begun.push(`${name} ${error.kind}`))
  const finish = async () => {
    for (let end = ends.shift(); end !== undefined; end = ends.shift()) {
      end()
      for (let turn = 0; turn < 20; turn++) await Promise.resolve()
    }
  }
  return { queue, add, begun, finish, refused: () => refused }
}

t.test('groups take turns, and known clients go first', async t => {
  const { add, begun, finish } = setUp()
  for (let i = 0; i < 5; i++) for (const group of ['a', 'b']) void add(group, 'failed', `${group}${i}`)
  void add('c', 'clean')
  void add('d', 'known')
  await finish()
  t.same(begun.slice(0, 3).toSorted(), ['a0', 'c', 'd'])
  t.same(
    begun.slice(3),
    ['b0', 'a1', 'b1', 'a2', 'b2', 'a3', 'b3', 'a4', 'b4'].filter(name => !begun.slice(0, 3).includes(name)),
  )
})

t.test('250 addresses with five guesses each do not keep others out', async t => {
  const { add, begun, finish, refused } = setUp(1000)
  for (let i = 0; i < 5; i++)
    for (let address = 0; address < 250; address++)
      void add(`${address}`, i === 0 ? 'clean' : 'failed', 'guess')
  void add('home', 'known', 'owner at home')
  void add('away', 'clean', 'owner elsewhere')
  await finish()
  const place = (name: string) => begun.filter(one => !one.includes('ERROR')).indexOf(name)
  t.ok(place('owner at home') <= 2, `${place('owner at home')}`)
  t.ok(place('owner elsewhere') > 0 && place('owner elsewhere') < 700, `${place('owner elsewhere')}`)
  t.ok(refused() >= 249, 'the queue is bounded')
})

t.test('when it is full, the newest work of the largest group is dropped', async t => {
  const { add, begun, finish } = setUp(3)
  void add('running', 'clean')
  for (const name of ['a1', 'a2', 'a3']) void add('a', 'clean', name)
  void add('a', 'clean', 'a4')
  void add('b', 'clean', 'b1')
  await finish()
  t.same(
    begun.filter(name => !name.includes('ERROR')),
    ['running', 'a1', 'b1', 'a2'],
  )
  t.same(begun.filter(name => name.includes('ERROR')).toSorted(), [
    'a3 ERROR_AUTH_FAILED',
    'a4 ERROR_AUTH_FAILED',
  ])
})

t.test('work that is no longer wanted takes no turn', async t => {
  const { add, begun, finish, refused } = setUp()
  let isThere = true
  void add('running', 'clean')
  for (const standing of ['known', 'clean', 'failed'] as const)
    for (let i = 0; i < 150; i++) void add(`${i}`, standing, 'guess', () => isThere)
  void add('owner', 'failed')
  isThere = false
  void add('late', 'clean', 'late', () => isThere)
  await finish()
  t.same(
    begun.filter(name => !name.includes('ERROR')),
    ['running', 'owner'],
  )
  t.equal(begun.filter(name => name === 'guess ERROR_CONNECTION_CLOSED').length, 450)
  t.ok(begun.includes('late ERROR_CONNECTION_CLOSED'))
  t.equal(refused(), 0)
  void add('next', 'clean')
  t.equal(begun.at(-1), 'next', 'the place is free')
  await finish()
})
