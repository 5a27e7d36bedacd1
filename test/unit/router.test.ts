import fc from 'fast-check'
import t from 'tap'
import { covers } from '../../src/core/topic-filter.js'
import { makePacket, type RoutedPacket } from '../../src/mqtt/routing/packet.js'
import { type Grant, qosOfGrant, type Route, Router, type Subscriber } from '../../src/mqtt/routing/router.js'
import type { QoS } from '../../src/mqtt/wire/packet-types.js'

class Heard implements Subscriber {
  readonly clientId = ''
  readonly isKept = false
  readonly hasRoom = true
  readonly got: [string, QoS][] = []
  readonly #routes = new Map<string, Route>()

  constructor(private readonly router: Router) {}

  subscribe(filter: string, qos: QoS): Route {
    this.unsubscribe(filter)
    const route = this.router.add(filter, { qos }, this)
    this.#routes.set(filter, route)
    return route
  }

  unsubscribe(filter: string): void {
    const route = this.#routes.get(filter)
    if (route !== undefined) this.router.remove(filter, route)
    this.#routes.delete(filter)
  }

  mayGet(): boolean {
    return true
  }

  deliver({ topic }: RoutedPacket, grant: Grant): void {
    this.got.push([topic, qosOfGrant(grant)])
  }

  /** Packets received since the last call. */
  take(): [string, QoS][] {
    return this.got.splice(0)
  }
}

const packet = (topic: string) => makePacket(topic, '', 0)

t.test(
  'each subscriber gets a packet once, at the highest QoS of its filters, also after some are removed',
  async t => {
    const router = new Router()
    const [one, two] = [new Heard(router), new Heard(router)]
    one.subscribe('a/b', 0)
    one.subscribe('a/+', 2)
    one.subscribe('#', 1)
    two.subscribe('a/b', 1)
    router.route(packet('a/b'))
    t.same([one.take(), two.take()], [[['a/b', 2]], [['a/b', 1]]])
    one.unsubscribe('a/+')
    router.route(packet('a/b'))
    t.same([one.take(), two.take()], [[['a/b', 1]], [['a/b', 1]]])
    one.unsubscribe('#')
    one.subscribe('a/b', 1)
    router.route(packet('a/b'))
    t.same(one.take(), [['a/b', 1]], 'subscribed to again with another QoS')
    one.unsubscribe('a/b')
    router.route(packet('a/b'))
    t.same(one.take(), [])
  },
)

t.test('a subscription that ends while a packet is routed is not called afterwards', async t => {
  const router = new Router()
  const one = new Heard(router)
  const route = one.subscribe('x', 0)
  t.equal(route.subscriber, one)
  one.unsubscribe('x')
  t.equal(route.subscriber, undefined)
})

const level = fc.constantFrom('a', 'b', '', '$x')
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map(levels => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 3 }), fc.constantFrom('a', '+', '#', ''))
  .map(([levels, last]) => [...levels, last].join('/'))
const change = fc.record({
  client: fc.nat(2),
  filter,
  qos: fc.constantFrom<QoS[]>(0, 1, 2),
  isRemoval: fc.boolean(),
})

t.test('random subscriptions and removals match a model that checks all filters', async t => {
  const property = fc.property(fc.array(change, { maxLength: 30 }), topic, (changes, name) => {
    const router = new Router()
    const clients = [new Heard(router), new Heard(router), new Heard(router)]
    const model = clients.map(() => new Map<string, QoS>())
    for (const { client, filter, qos, isRemoval } of changes) {
      if (isRemoval) {
        clients[client]?.unsubscribe(filter)
        model[client]?.delete(filter)
      } else {
        clients[client]?.subscribe(filter, qos)
        model[client]?.set(filter, qos)
      }
    }
    router.route(packet(name))
    for (const [i, client] of clients.entries()) {
      const granted = [...(model[i] ?? [])].filter(([one]) => covers(one, name)).map(([, qos]) => qos)
      const expected = granted.length === 0 ? [] : [[name, Math.max(...granted)]]
      if (JSON.stringify(client.take()) !== JSON.stringify(expected)) return false
    }
    return true
  })
  fc.assert(property, { numRuns: 2000 })
  t.pass()
})
