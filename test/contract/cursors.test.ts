import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createLogger } from '../../src/core/log.js'
import { Cursors } from '../../src/inbox/cursors.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'
import { ANN, move } from '../helpers/store-samples.js'

async function setUp(t: Test) {
  const store = new EmbeddedStore({ dir: join(dataDir(t), 'db'), durability: 'commit', dedupWindowMs: 1000 })
  await store.open()
  t.teardown(() => store.close())
  // As after `kill -9`: a second instance on the same store knows only what the first has written.
  const cursors = () => {
    const made = new Cursors(store.cursors, createLogger({ level: 'silent', pretty: 'never' }))
    t.teardown(() => made.close())
    return made
  }
  return { store, cursors }
}

t.test('the cursor of a new device survives if the process dies right after its login', async t => {
  const { store, cursors } = await setUp(t)
  await store.cursors.moveCursors([move(ANN, 'old', { confirmed: 5, sent: 5 })])
  t.match(await cursors().load(ANN, 'new'), { confirmed: 5, sent: 5 })
  await store.cursors.moveCursors([move(ANN, 'old', { confirmed: 9, sent: 9 })])
  t.match(await cursors().load(ANN, 'new'), { confirmed: 5, sent: 5 }, 'it misses nothing of 6 to 9')
})

t.test('so does the cursor of a device that asked for all messages', async t => {
  const { store, cursors } = await setUp(t)
  await store.cursors.moveCursors([move(ANN, 'old', { confirmed: 5, sent: 5 })])
  t.match(await cursors().load(ANN, 'new', 'start'), { confirmed: 0 })
  t.match(await cursors().load(ANN, 'new'), { confirmed: 0 })
})

t.test('two simultaneous connections of a new device get the same cursor', async t => {
  const { store, cursors } = await setUp(t)
  await store.cursors.moveCursors([move(ANN, 'old', { confirmed: 5, sent: 5 })])
  const both = cursors()
  const [first, second] = [both.load(ANN, 'new'), both.load(ANN, 'new')]
  t.match([await first, await second], [{ confirmed: 5 }, { confirmed: 5 }])
})

t.test('cursor moves of one account are durable at once on request', async t => {
  const { store, cursors } = await setUp(t)
  const some = cursors()
  some.moved({ place: move(ANN, 'phone', { confirmed: 4, sent: 4 }) })
  await some.writeNow(ANN)
  t.match(await store.cursors.cursor(ANN, 'phone'), { confirmed: 4 })
})

t.test('the moves of many are written in small commits, so that none takes a turn of its own', async t => {
  const { store, cursors } = await setUp(t)
  const sizes: number[] = []
  const counted = Object.assign(Object.create(store.cursors) as typeof store.cursors, {
    moveCursors: (moves: Parameters<typeof store.cursors.moveCursors>[0]) => {
      sizes.push(moves.length)
      return store.cursors.moveCursors(moves)
    },
  })
  const some = new Cursors(counted, createLogger({ level: 'silent', pretty: 'never' }))
  t.teardown(() => some.close())
  const names = Array.from({ length: 1000 }, (_, i) => `device ${i}`)
  for (const name of names) some.moved({ place: move(ANN, name, { confirmed: 3, sent: 3 }) })
  const last = names.at(-1) ?? ''
  while ((await store.cursors.cursor(ANN, last)) === undefined) await new Promise(setImmediate)
  t.same(sizes, [256, 256, 256, 232])
  const later = cursors()
  for (const name of names) t.match(await later.load(ANN, name), { confirmed: 3 })
})
