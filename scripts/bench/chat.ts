/** Pairs of clients that send messages to each other; measures delivery and checks the content. */
import { setTimeout as delay } from 'node:timers/promises'
import { type Chatter, MAX_WINDOW } from './chatter.js'
import { Flow, Meter } from './flow.js'
import { cpuSeconds, mainThreadSeconds, memoryKiB, ownCpuSeconds } from './machine.js'
import type { Peer, Wire } from './peers.js'
import { userId } from './program.js'
import type { Server } from './server.js'
import { type Generator, Schedule, takeTurns } from './turns.js'

/** Results of a scenario; peers are compared by the first value. */
export type Values = Readonly<Record<string, number>>

/** The effect of a disturbance on chats: ratios of results during it to results before it. */
export const compared = (before: Values, during: Values): Values => ({
  'p99 during ÷ before': (during['p99 ms'] ?? 0) / (before['p99 ms'] ?? 1),
  'p50 ms before': before['p50 ms'] ?? 0,
  'p50 ms during': during['p50 ms'] ?? 0,
  'p99 ms before': before['p99 ms'] ?? 0,
  'p99 ms during': during['p99 ms'] ?? 0,
  lost: during.lost ?? 0,
  duplicated: during.duplicated ?? 0,
  reordered: during.reordered ?? 0,
})

/** If nothing arrives for this time, missing messages count as lost. */
const SETTLE_TIMEOUT_MS = 5000
const LOGINS_AT_ONCE = 200

export interface ChatOptions {
  readonly peer: Peer
  readonly server: Server
  readonly wire: Wire
  readonly users: number
  /** Index of the first user. */
  readonly first?: number
  /** Whether both users of a pair send; default: except from JSON to MQTT. */
  readonly bothWays?: boolean
}

/** Closed loop: each sender keeps this many messages unacknowledged. Open loop: messages a second of all senders together. */
export type Load = { readonly window: number } | { readonly rate: number }

export interface Run {
  readonly load: Load
  /** Default `single`. */
  readonly generator?: Generator
  /** Load before the measurement; default 0. */
  readonly warmUpSeconds?: number
}

export class Chat {
  readonly #meter = new Meter()
  readonly #flows: Flow[] = []
  readonly #chatters: Chatter[] = []
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /** Users 2n and 2n + 1 are a pair. The first sends to the second. */
  static async open(options: ChatOptions): Promise<Chat> {
    const { peer, server, wire, users, first = 0, bothWays = wire !== 'json-mqtt' } = options
    const chat = new Chat(server)
    for (let n = first; n < first + users; n += 2) {
      const a = peer.connect(server, 'sender', wire)
      const b = peer.connect(server, 'recipient', wire)
      chat.#chatters.push(a, b)
      chat.#join(a, b, userId(n + 1))
      if (bothWays) chat.#join(b, a, userId(n))
    }
    await enterAll(chat.#chatters, first)
    return chat
  }

  #join(from: Chatter, to: Chatter, recipient: string): void {
    const flow = new Flow(this.#meter)
    this.#flows.push(flow)
    from.aim(recipient, flow)
    to.incoming = flow
  }

  /** Measures the load for a time. */
  async measureFor(seconds: number, run: Run): Promise<Values> {
    return this.during(run, () => this.#unbroken(seconds * 1000))
  }

  /** Each sender sends in its turn, `rate` messages a second of all together, until `work` resolves. */
  pace(rate: number, work: () => Promise<unknown>): Promise<Values> {
    return this.during({ load: { rate } }, work)
  }

  /** Measures while `work` is done under the load; then waits for what is still on its way. */
  async during(
    { load, generator = 'single', warmUpSeconds = 0 }: Run,
    work: () => Promise<unknown>,
  ): Promise<Values> {
    const stop = 'rate' in load ? this.#open(load.rate, generator) : this.#closed(load.window, generator)
    await this.#unbroken(warmUpSeconds * 1000)
    const values = await this.#measure(work)
    stop()
    await this.settle()
    return { ...values, ...this.faults() }
  }

  get #senders(): Chatter[] {
    return this.#chatters.filter(chatter => chatter.outgoing !== undefined)
  }

  /** Open loop. @returns a function that ends it */
  #open(rate: number, generator: Generator): () => void {
    const senders = this.#senders
    for (const chatter of senders) chatter.window = MAX_WINDOW
    const schedule = new Schedule(performance.now(), rate, senders.length)
    return takeTurns(generator, () =>
      schedule.due(performance.now(), (sender, dueMs) => senders[sender]?.sendDue((dueMs * 1000) >>> 0)),
    )
  }

  /** Closed loop. @returns a function that ends it */
  #closed(window: number, generator: Generator): () => void {
    const senders = this.#senders
    for (const chatter of senders) chatter.flood(window)
    const stop = generator === 'batching' ? takeTurns(generator, () => undefined) : () => undefined
    return () => {
      stop()
      for (const chatter of senders) chatter.isFlooding = false
    }
  }

  async #measure(work: () => Promise<unknown>): Promise<Values> {
    const meter = this.#meter
    meter.start()
    const { pid } = this.#server
    const before = [performance.now(), ownCpuSeconds(), cpuSeconds(pid), mainThreadSeconds(pid)] as const
    await work()
    const seconds = (performance.now() - before[0]) / 1000
    meter.isOn = false
    const serverCpu = cpuSeconds(pid) - before[2]
    return {
      'CPU µs a message': (serverCpu / meter.delivered) * 1e6,
      'messages/s': meter.delivered / seconds,
      'messages/server CPU s': meter.delivered / serverCpu,
      'p50 ms': meter.latency.percentile(50) / 1000,
      'p99 ms': meter.latency.percentile(99) / 1000,
      'max ms': meter.latency.max / 1000,
      'ack p50 ms': meter.acknowledgement.percentile(50) / 1000,
      'ack p99 ms': meter.acknowledgement.percentile(99) / 1000,
      'server CPU %': (serverCpu / seconds) * 100,
      'main thread %': ((mainThreadSeconds(pid) - before[3]) / seconds) * 100,
      'generator CPU %': ((ownCpuSeconds() - before[1]) / seconds) * 100,
      'memory MiB': memoryKiB(pid) / 1024,
    }
  }

  faults(): Values {
    const sum = (of: (flow: Flow) => number) => this.#flows.reduce((total, flow) => total + of(flow), 0)
    return {
      lost: sum(flow => flow.lost),
      unacknowledged: sum(flow => flow.sent - flow.acked),
      duplicated: sum(flow => flow.duplicated),
      reordered: sum(flow => flow.reordered),
      damaged: sum(flow => flow.damaged),
    }
  }

  /** Resolves when all messages are acknowledged and received, or nothing more arrives. */
  async settle(): Promise<void> {
    await settled(this.#flows)
  }

  async close(): Promise<void> {
    await Promise.all(this.#chatters.map(chatter => chatter.close()))
  }

  /** Rejects if a connection fails. */
  async #unbroken(ms: number): Promise<void> {
    await Promise.race([delay(ms), ...this.#chatters.map(({ broken }) => broken)])
  }
}

export async function settled(flows: readonly Flow[]): Promise<void> {
  let seen = -1
  let since = performance.now()
  while (!flows.every(flow => flow.isSettled)) {
    const now = flows.reduce((sum, { acked, received }) => sum + acked + received, 0)
    if (now !== seen) since = performance.now()
    seen = now
    if (performance.now() - since > SETTLE_TIMEOUT_MS) return
    await delay(1)
  }
}

/** Connects and logs in the users from index `first` on, a bounded number at a time. */
export async function enterAll(
  chatters: readonly Chatter[],
  first: number,
  session: 'clean' | 'kept' = 'clean',
): Promise<void> {
  for (let n = 0; n < chatters.length; n += LOGINS_AT_ONCE) {
    const some = chatters.slice(n, n + LOGINS_AT_ONCE)
    await Promise.all(
      some.map(async (chatter, i) => {
        await chatter.open()
        await chatter.enter(userId(first + n + i), session)
      }),
    )
  }
}

/**
 * Connects and logs in more, until there are `count`. No more connect at a time than log in at once: a server closes what does
 * not log in soon. @param first index of the first user
 */
export async function fill(
  chatters: Chatter[],
  count: number,
  first: number,
  connect: () => Chatter,
): Promise<void> {
  while (chatters.length < count) {
    const more = Array.from({ length: Math.min(LOGINS_AT_ONCE, count - chatters.length) }, connect)
    await enterAll(more, first + chatters.length)
    chatters.push(...more)
  }
}
