import t from 'tap'
import { Turnstile } from '../../src/flow/turnstile.js'

const turn = () => new Promise(resolve => setImmediate(resolve))

t.test('so many pass in a turn, the others in later ones, in their order', async t => {
  const turnstile = new Turnstile(2)
  const done: number[] = []
  for (let i = 0; i < 5; i++) turnstile.enter(() => done.push(i))
  t.same(done, [0, 1], 'at once')
  t.notOk(turnstile.passes(), 'nobody overtakes those that wait')
  await turn()
  t.same(done, [0, 1, 2, 3])
  turnstile.add({ run: () => done.push(5) })
  await turn()
  t.same(done, [0, 1, 2, 3, 4, 5])
  await turn()
  t.ok(turnstile.passes())
  t.ok(turnstile.passes())
  t.notOk(turnstile.passes())
})

t.test('a job that throws is an uncaught exception and stops no other', async t => {
  const turnstile = new Turnstile(1)
  const thrown: unknown[] = []
  t.teardown(() => process.off('uncaughtException', caught))
  const caught = (error: unknown) => void thrown.push(error)
  // tap has a listener of its own, which would fail the test.
  const others = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException').on('uncaughtException', caught)
  const fault = new Error('planted')
  let isDone = false
  turnstile.enter(() => undefined)
  turnstile.add(() => {
    throw fault
  })
  await new Promise<void>(resolve =>
    turnstile.add(() => {
      isDone = true
      resolve()
    }),
  )
  await turn()
  for (const other of others) process.on('uncaughtException', other)
  t.ok(isDone)
  t.same(thrown, [fault])
})
