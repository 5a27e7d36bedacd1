import t from 'tap'
import type { CodeName } from '../../src/core/errors.js'
import { type LiveConnection, LiveConnections, type MultiplePolicy } from '../../src/live/live.js'
import { ofKind } from '../helpers/kind.js'

const USER = '289559048'

/** A connection with a given answer to a probe, which leaves when it is ended. */
class Hand implements LiveConnection {
  readonly ended: CodeName[] = []
  answer: (isAlive: boolean) => void = () => undefined
  probed = 0

  constructor(
    private readonly live: LiveConnections,
    readonly front: 'json' | 'mqtt' = 'json',
    private readonly leaves = true,
  ) {}

  probe(): Promise<boolean> {
    this.probed++
    return new Promise(resolve => {
      this.answer = resolve
    })
  }

  end(code: CodeName): void {
    this.ended.push(code)
    if (this.leaves) this.live.leave(USER, this)
  }
}

/** The live connections with this policy, and every change of presence. */
function registry(policy: MultiplePolicy) {
  const live = new LiveConnections(policy)
  const presence: boolean[] = []
  live.onPresence((_userId, online) => presence.push(online))
  return { live, presence }
}

t.test('presence changes with the first connection and with the end of the last', async t => {
  const { live, presence } = registry('allow')
  const [one, two] = [new Hand(live), new Hand(live, 'mqtt')]
  await live.join(USER, one)
  live.add(USER, two)
  t.same([...live.online()], [USER])
  live.leave(USER, one)
  live.leave(USER, one)
  t.equal(live.isOnline(USER), true)
  live.leave(USER, two)
  t.equal(live.isOnline(USER), false)
  t.same([...live.online()], [])
  t.same(presence, [true, false])
})

t.test('reject: while the first is alive the second is refused, and the first is not ended', async t => {
  const { live } = registry('reject')
  const [first, second] = [new Hand(live), new Hand(live)]
  await live.join(USER, first)
  const joining = live.join(USER, second)
  first.answer(true)
  await t.rejects(joining, ofKind('ERROR_MULTIPLE_LOGIN'))
  t.same(first.ended, [])
})

t.test('reject: if the first is dead, the second replaces it', async t => {
  const { live } = registry('reject')
  const [first, second] = [new Hand(live), new Hand(live)]
  await live.join(USER, first)
  const joining = live.join(USER, second)
  first.answer(false)
  await joining
  t.same(first.ended, ['ERROR_CONNECTION_CLOSED'])
  t.equal(live.isOnline(USER), true)
})

t.test('reject: of two that wait for the same dead connection, only one is admitted', async t => {
  const { live } = registry('reject')
  const dead = new Hand(live)
  const both = [new Hand(live), new Hand(live)]
  await live.join(USER, dead)
  const settled: Hand[] = []
  // Both probe; each probe of the dead one has its own answer.
  const answers: ((isAlive: boolean) => void)[] = []
  dead.probe = () => new Promise(resolve => answers.push(resolve))
  const joins = both.map(one => live.join(USER, one).then(() => void settled.push(one)))
  for (const answer of answers) answer(false)
  await Promise.race(joins)
  await new Promise(resolve => setImmediate(resolve))
  t.equal(settled.length, 1)
  const [winner] = settled
  t.equal(winner?.probed, 1, 'the other one asks whether the winner is there')
  winner?.answer(true)
  t.equal((await Promise.allSettled(joins)).filter(({ status }) => status === 'rejected').length, 1)
})

t.test('reject: of joins in the same turn, one is admitted', async t => {
  const { live } = registry('reject')
  const both = [new Hand(live), new Hand(live)]
  const joins = both.map(one => live.join(USER, one))
  both[0]?.answer(true)
  t.same(
    (await Promise.allSettled(joins)).map(({ status }) => status),
    ['fulfilled', 'rejected'],
  )
  t.same(both[0]?.ended, [])
})

t.test('replace: the first is ended, and the account is never offline in between', async t => {
  const { live, presence } = registry('replace')
  const [first, second] = [new Hand(live), new Hand(live)]
  await live.join(USER, first)
  await live.join(USER, second)
  t.same(first.ended, ['ERROR_CONNECTION_CLOSED'])
  t.same(presence, [true])
})

t.test(
  'replace: a connection that does not know its account yet is removed, since it cannot leave itself',
  async t => {
    const { live } = registry('replace')
    const [first, second] = [new Hand(live, 'json', false), new Hand(live)]
    await Promise.all([live.join(USER, first), live.join(USER, second)])
    t.same(first.ended, ['ERROR_CONNECTION_CLOSED'])
    live.leave(USER, second)
    t.equal(live.isOnline(USER), false)
  },
)

t.test('an MQTT connection does not count as a second login', async t => {
  for (const policy of ['reject', 'replace'] as const) {
    const { live } = registry(policy)
    const device = new Hand(live, 'mqtt')
    live.add(USER, device)
    await live.join(USER, new Hand(live))
    t.same(device.ended, [], policy)
  }
})

t.test('endAll ends every connection of the account and of no other', async t => {
  const { live } = registry('allow')
  const [one, two, other] = [new Hand(live), new Hand(live, 'mqtt'), new Hand(live)]
  await live.join(USER, one)
  live.add(USER, two)
  await live.join('271693512', other)
  live.endAll(USER, 'ERROR_CONNECTION_CLOSED')
  t.same([one.ended, two.ended, other.ended], [['ERROR_CONNECTION_CLOSED'], ['ERROR_CONNECTION_CLOSED'], []])
  live.endAll('100000000', 'ERROR_CONNECTION_CLOSED')
})

t.test('a request that waits is ended as connections are, and makes nobody online', t => {
  const { live, presence } = registry('allow')
  const ended: CodeName[] = []
  const login = { id: 'its login', kind: 'token', role: 'user', device: undefined, since: 0 } as const
  const over = live.whileWaiting(USER, { login, end: code => ended.push(code) })
  t.equal(live.isOnline(USER), false)
  live.endAll(USER, 'ERROR_CONNECTION_CLOSED', one => one.login?.id === 'another')
  live.endAll('123456789', 'ERROR_CONNECTION_CLOSED')
  t.same(ended, [])
  live.endAll(USER, 'ERROR_CONNECTION_CLOSED', one => one.login?.id === 'its login')
  over()
  live.endAll(USER, 'ERROR_CONNECTION_CLOSED')
  t.same(ended, ['ERROR_CONNECTION_CLOSED'])
  t.same(presence, [])
  t.end()
})
