import t from 'tap'
import { Due } from '../../src/flow/due.js'
import { AnswersInOrder, InOrder, type Place } from '../../src/flow/in-order.js'
import { Later } from '../../src/flow/later.js'
import { Rounds } from '../../src/flow/rounds.js'
import { KeyedSerial, Serial } from '../../src/flow/serial.js'
import { Steps } from '../../src/flow/steps.js'
import { TurnEnd } from '../../src/flow/turn-end.js'

const turn = () => new Promise(resolve => setImmediate(resolve))

class Numbered implements Place {
  isDecided = false
  constructor(readonly n: number) {}
}

function inOrder(count: number) {
  const left: number[] = []
  const order = new InOrder<Numbered>(({ n }) => left.push(n))
  const places = Array.from({ length: count }, (_, n) => new Numbered(n))
  for (const place of places) order.push(place)
  const decide = (n: number) => {
    const place = places[n]
    if (place !== undefined) place.isDecided = true
    order.flush()
  }
  return { order, left, decide }
}

t.test('Later: one timer runs all jobs that wait', async t => {
  const timers = t.capture(globalThis, 'setTimeout', setTimeout)
  const later = new Later(1)
  const ran: number[] = []
  // Its timer keeps no process alive.
  const alive = setInterval(() => undefined, 1000)
  await new Promise<void>(resolve => {
    later.add(() => ran.push(1))
    later.add(() => {
      ran.push(2)
      later.add(() => {
        ran.push(3)
        resolve()
      })
    })
  })
  clearInterval(alive)
  t.same(ran, [1, 2, 3])
  t.equal(timers().filter(({ args }) => args[1] === 1).length, 2, 'the job of a job has the next timer')
})

t.test('InOrder: a place leaves when it and all earlier ones are decided', async t => {
  const { order, left, decide } = inOrder(3)
  decide(2)
  decide(1)
  t.same([left, order.length], [[], 3])
  decide(0)
  t.same([left, order.length], [[0, 1, 2], 0])
  order.push(new Numbered(3))
  t.equal(order.length, 1)
})

t.test('InOrder: thousands of places leave in order, whichever is decided last', async t => {
  const count = 3000
  const { order, left, decide } = inOrder(count)
  for (let n = 0; n < count; n++) if (n !== 1500) decide(n)
  t.same([left.length, order.length], [1500, 1500])
  decide(1500)
  t.same(
    left,
    Array.from({ length: count }, (_, n) => n),
  )
  t.equal(order.length, 0)
})

t.test('InOrder: a place that is taken while another leaves keeps its turn', async t => {
  const left: number[] = []
  const order = new InOrder<Numbered>(({ n }) => {
    left.push(n)
    if (n < 3) order.push(Object.assign(new Numbered(n + 1), { isDecided: true }))
  })
  order.push(Object.assign(new Numbered(0), { isDecided: true }))
  order.flush()
  t.same([left, order.length], [[0, 1, 2, 3], 0])
})

t.test('AnswersInOrder: answers come in the order of the calls, failures too', async t => {
  const answers = new AnswersInOrder()
  const came: string[] = []
  let answerFirst: (value: string) => void = () => undefined
  const first = answers.keep(new Promise<string>(resolve => (answerFirst = resolve)))
  const second = answers.keep(Promise.reject(new Error('second')))
  const third = answers.keep(Promise.resolve('third'))
  const noted = [first, second, third].map(answer =>
    answer.catch(({ message }: Error) => message).then(name => came.push(name)),
  )
  await turn()
  t.same(came, [])
  answerFirst('first')
  await Promise.all(noted)
  t.same(came, ['first', 'second', 'third'])
  await answers.idle()
})

/** Work that records its begin and end. */
function worker() {
  const events: string[] = []
  const work = (name: string) => async () => {
    events.push(`${name} begins`)
    await turn()
    events.push(`${name} ends`)
    return name
  }
  return { events, work }
}

t.test('Serial: work does not overlap, and a failure stops nothing', async t => {
  const { events, work } = worker()
  const serial = new Serial()
  t.ok(serial.isIdle)
  const fails = serial.run(() => {
    throw new Error('first')
  })
  const done = [serial.run(work('a')), serial.run(work('b'))]
  await t.rejects(fails, { message: 'first' })
  t.notOk(serial.isIdle)
  t.same(await Promise.all(done), ['a', 'b'])
  t.same(events, ['a begins', 'a ends', 'b begins', 'b ends'])
  await serial.idle()
  t.ok(serial.isIdle)
})

t.test('KeyedSerial: work of one key does not overlap, work of two does', async t => {
  const { events, work } = worker()
  const serial = new KeyedSerial()
  const done = [serial.run('x', work('x1')), serial.run('x', work('x2')), serial.run('y', work('y1'))]
  await Promise.all(done)
  t.same(events.slice(0, 2), ['x1 begins', 'y1 begins'])
  t.ok(events.indexOf('x1 ends') < events.indexOf('x2 begins'))
  await t.rejects(
    serial.run('x', async () => {
      throw new Error('fails')
    }),
    { message: 'fails' },
  )
  t.equal(await serial.run('x', work('x3')), 'x3', 'and a failed one is not in the way')
})

t.test('TurnEnd: all jobs of a turn run once at its end; an exception of one stops no other', async t => {
  const turnEnd = new TurnEnd()
  const ran: string[] = []
  const uncaught = new Promise(resolve => process.once('uncaughtException', resolve))
  turnEnd.add(() => {
    throw new Error('job')
  })
  turnEnd.add(() => {
    ran.push('second')
    turnEnd.add(() => ran.push('next turn'))
  })
  await Promise.resolve()
  t.same(ran, [])
  await turn()
  t.same(ran, ['second'])
  t.match(await uncaught, { message: 'job' })
  await turn()
  t.same(ran, ['second', 'next turn'])
})

t.test('Due: scheduled for the first job that waits, and again for the first behind a run', async t => {
  const runs: (() => void)[] = []
  const due = new Due(run => void runs.push(run))
  const ran: number[] = []
  due.add(() => ran.push(1))
  due.add(() => ran.push(2))
  t.equal(runs.length, 1)
  runs.shift()?.()
  t.same(ran, [1, 2])
  due.add(() => ran.push(3))
  t.equal(runs.length, 1)
  runs.shift()?.()
  t.same(ran, [1, 2, 3])
})

t.test('Due: a job may be an object', async t => {
  const runs: (() => void)[] = []
  const due = new Due(run => void runs.push(run))
  const order: string[] = []
  due.add({ run: () => void order.push('object') })
  due.add(() => order.push('function'))
  runs[0]?.()
  t.same(order, ['object', 'function'])
})

t.test('steps: at once where nothing is under way, otherwise one behind the other', async t => {
  const steps = new Steps()
  const log: string[] = []
  const goes: (() => void)[] = []
  const slow = (name: string) => () => {
    log.push(name)
    return new Promise<void>(resolve => goes.push(resolve))
  }
  const quick = (name: string) => () => {
    log.push(name)
    return undefined
  }
  steps.run(quick('a'))
  steps.run(slow('b'))
  steps.run(quick('c'))
  steps.run(slow('d'))
  steps.run(quick('e'))
  t.same(log, ['a', 'b'])
  goes[0]?.()
  await new Promise(setImmediate)
  t.same(log, ['a', 'b', 'c', 'd'])
  goes[1]?.()
  await new Promise(setImmediate)
  t.same(log, ['a', 'b', 'c', 'd', 'e'])
  steps.run(quick('f'))
  t.equal(log.at(-1), 'f', 'at once again')
})

t.test('Rounds: each member comes in each round, whatever comes and goes', async t => {
  const all = new Set([1, 2, 3, 4, 5])
  const rounds = new Rounds(all, 3)
  t.same(
    [rounds.next(), rounds.next(), rounds.next()],
    [
      [1, 2],
      [3, 4],
      [5, 1],
    ],
  )
  all.delete(2)
  all.add(6)
  t.same(
    [rounds.next(), rounds.next(), rounds.next()],
    [
      [3, 4],
      [5, 6],
      [1, 3],
    ],
  )
  all.clear()
  t.same(rounds.next(), [])
  all.add(7)
  t.same([rounds.next(), rounds.next()], [[7], [7]])
})
