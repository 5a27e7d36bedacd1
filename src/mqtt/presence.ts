/**
 * Tells subscribers of `users/<id>/presence` who came online and who went offline. Changes are collected for
 * `mqtt.presenceWindow` and only the last state of each user is told, so that a client that comes and goes costs little.
 * The packets of one window go out in parts, one an event-loop turn, and in one write a subscriber.
 */
import { setImmediate } from 'node:timers/promises'
import type { UserId } from '../core/model.js'
import type { LiveConnections } from '../live/live.js'
import { presenceTopic } from './acl/topics.js'
import { makePacket, type RoutedPacket } from './routing/packet.js'
import type { Route, Router, Subscriber } from './routing/router.js'

/** Work of one turn: about 2 ms, most of it socket writes. */
const SUBSCRIBERS_PER_TURN = 200
const PACKETS_PER_TURN = 2000

/** What is to be sent to one subscriber. */
type Due = { readonly route: Route; readonly packet: RoutedPacket }[]

export class Presence {
  /** Users whose change is not told yet, with the Router.tick of the change. */
  #changed = new Map<UserId, number>()
  #window: NodeJS.Timeout | undefined
  #isTelling = false
  #isClosed = false

  constructor(
    private readonly live: Pick<LiveConnections, 'isOnline'>,
    private readonly router: Router,
    private readonly options: { readonly windowMs: number; readonly onFailed: (thrown: unknown) => void },
  ) {}

  /** The user came online, or went offline. */
  changed(userId: UserId): void {
    this.#changed.set(userId, this.router.tick())
    this.#wait()
  }

  /** Changes that are not told yet are dropped: the subscribers' connections end, too. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#window)
  }

  #wait(): void {
    if (this.#isClosed || this.#isTelling || this.#window !== undefined || this.#changed.size === 0) return
    this.#window = setTimeout(() => this.#tell().catch(this.options.onFailed), this.options.windowMs)
  }

  async #tell(): Promise<void> {
    this.#window = undefined
    this.#isTelling = true
    const changes = [...this.#changed].reverse()
    this.#changed = new Map()
    while (changes.length > 0 && !this.#isClosed) await this.#send(this.#plan(changes))
    this.#isTelling = false
    this.#wait()
  }

  /** Takes from the end of `changes` as many as one turn may tell. What is told is the state at this moment. */
  #plan(changes: [UserId, number][]): ReadonlyMap<Subscriber, Due> {
    const plan = new Map<Subscriber, Due>()
    let count = 0
    for (let change = changes.pop(); change !== undefined; change = changes.pop()) {
      const [userId, at] = change
      const topic = presenceTopic(userId)
      const packet = makePacket(topic, this.live.isOnline(userId) ? 'online' : 'offline', 0)
      const { byTopic, byWildcard } = this.router.routesOf(topic)
      for (const routes of [byWildcard, byTopic])
        for (const route of routes) count += add(plan, route, packet, at)
      if (count >= PACKETS_PER_TURN) break
    }
    return plan
  }

  async #send(plan: ReadonlyMap<Subscriber, Due>): Promise<void> {
    let subscribers = 0
    let packets = 0
    for (const [subscriber, due] of plan) {
      // The subscriber may have unsubscribed or disconnected since.
      for (const { route, packet } of due) if (route.subscriber === subscriber) subscriber.deliver(packet, 0)
      subscribers++
      packets += due.length
      if (subscribers < SUBSCRIBERS_PER_TURN && packets < PACKETS_PER_TURN) continue
      await setImmediate()
      subscribers = 0
      packets = 0
    }
    await setImmediate()
  }
}

/**
 * @param at Router.tick of the change; who subscribed later got the state with SUBACK
 * @returns how many packets this adds
 */
function add(plan: Map<Subscriber, Due>, route: Route, packet: RoutedPacket, at: number): number {
  const { subscriber, since } = route
  if (subscriber === undefined || since > at) return 0
  const due = plan.get(subscriber)
  if (due === undefined) plan.set(subscriber, [{ route, packet }])
  else if (due.at(-1)?.packet !== packet) due.push({ route, packet })
  return 1
}
