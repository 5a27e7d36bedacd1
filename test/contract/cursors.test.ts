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
  // As after `kill -9`: another one on the same store, which knows only what the first has written.
  const cursors = () => {
    const made = new Cursors(store.cursors, createLogger({ level: 'silent', pretty: 'never' }))
    t.teardown(() => made.close())
    return made
  }
  return { store, cursors }
}

t.test('a new device is not forgotten when the process dies right after it was let in', async t => {
  const { store, cursors } = await setUp(t)
  await store.cursors.moveCursors([move(ANN, 'old', { confirmed: 5, sent: 5 })])
  t.match(await cursors().load(ANN, 'new'), { confirmed: 5, sent: 5 })
  await store.cursors.moveCursors([move(ANN, 'old', { confirmed: 9, sent: 9 })])
  t.match(await cursors().load(ANN, 'new'), { confirmed: 5, sent: 5 }, 'it misses nothing of 6 to 9')
})

t.test('one that asked for everything does not either', async t => {
  const { store, cursors } = await setUp(t)
  await store.cursors.moveCursors([move(ANN, 'old', { confirmed: 5, sent: 5 })])
  t.match(await cursors().load(ANN, 'new', 'start'), { confirmed: 0 })
  t.match(await cursors().load(ANN, 'new'), { confirmed: 0 })
})

t.test('two connections of a new device at one time find the same place', async t => {
  const { store, cursors } = await setUp(t)
  await store.cursors.moveCursors([move(ANN, 'old', { confirmed: 5, sent: 5 })])
  const both = cursors()
  const [first, second] = [both.load(ANN, 'new'), both.load(ANN, 'new')]
  t.match([await first, await second], [{ confirmed: 5 }, { confirmed: 5 }])
})

t.test('moves of one account are durable at once where they are asked for', async t => {
  const { store, cursors } = await setUp(t)
  const some = cursors()
  some.move(move(ANN, 'phone', { confirmed: 4, sent: 4 }))
  await some.writeNow(ANN)
  t.match(await store.cursors.cursor(ANN, 'phone'), { confirmed: 4 })
})
