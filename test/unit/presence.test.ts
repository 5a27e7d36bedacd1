import t, { type Test } from 'tap'
import { Presence } from '../../src/mqtt/presence.js'
import type { RoutedPacket } from '../../src/mqtt/routing/packet.js'
import { type Route, Router, type Subscriber } from '../../src/mqtt/routing/router.js'

const ANN = '100000001'
const BOB = '100000002'

class Watcher implements Subscriber {
  readonly clientId = ''
  readonly isKept = false
  readonly hasRoom = true
  readonly heard: string[] = []
  readonly packets = new Set<RoutedPacket>()
  readonly #routes: readonly [string, Route][]

  constructor(
    private readonly router: Router,
    private readonly onHeard: () => void,
    filter = 'users/+/presence',
  ) {
    this.#routes = [[filter, router.add(filter, { qos: 0 }, this)]]
  }

  leave(): void {
    for (const [filter, route] of this.#routes) this.router.remove(filter, route)
  }

  mayGet(): boolean {
    return true
  }

  deliver(packet: RoutedPacket): void {
    this.packets.add(packet)
    this.heard.push(`${packet.topic.split('/')[1]} ${packet.payload}`)
    this.onHeard()
  }
}

/** @param onHeard called for each packet that any subscriber gets */
function setUp(t: Test, watchers: number, onHeard = () => {}) {
  const online = new Set<string>()
  const router = new Router()
  const live = { isOnline: (userId: string) => online.has(userId) }
  const presence = new Presence(live, router, { windowMs: 5, onFailed: thrown => t.fail(String(thrown)) })
  t.teardown(() => presence.close())
  const all = Array.from({ length: watchers }, () => new Watcher(router, onHeard))
  const set = (userId: string, isOnline: boolean) => {
    if (isOnline) online.add(userId)
    else online.delete(userId)
    presence.changed(userId)
  }
  return { router, all, set }
}

const turn = () => new Promise(setImmediate)

async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await turn()
}

t.test('many subscribers get one shared packet in parts per turn, and the last state last', async t => {
  let inTurn = 0
  let most = 0
  const { all, set } = setUp(t, 1000, () => {
    most = Math.max(most, ++inTurn)
  })
  set(ANN, true)
  for (; all[0]?.heard.length === 0; ) await turn()
  // Some have heard that she is online, the others not yet.
  set(ANN, false)
  for (; all.some(({ heard }) => heard.at(-1) !== `${ANN} offline`); inTurn = 0) await turn()
  t.ok(most < 500, `${most} in one turn`)
  t.ok(all.every(({ heard }) => heard.length <= 2))
  t.equal(new Set(all.flatMap(({ packets }) => [...packets])).size, 2)
})

t.test(
  'a client that unsubscribes meanwhile gets no more, one that subscribes gets no earlier state',
  async t => {
    const { router, all, set } = setUp(t, 1000)
    set(ANN, true)
    await until(() => (all[0]?.heard.length ?? 0) > 0)
    const leaver = all.at(-1)
    leaver?.leave()
    const late = new Watcher(router, () => {})
    set(BOB, true)
    await until(() => late.heard.length > 0)
    t.same(leaver?.heard, [])
    t.same(late.heard, [`${BOB} online`])
  },
)

t.test('overlapping filters get one packet per change', async t => {
  const { router, all, set } = setUp(t, 1)
  const [watcher] = all
  if (watcher === undefined) return
  router.add(`users/${ANN}/presence`, { qos: 1 }, watcher)
  const exact = new Watcher(router, () => {}, `users/${BOB}/presence`)
  set(ANN, true)
  set(BOB, true)
  set(BOB, false)
  set(BOB, true)
  await until(() => exact.heard.length > 0)
  t.same(watcher.heard, [`${ANN} online`, `${BOB} online`])
  t.same(exact.heard, [`${BOB} online`])
})
