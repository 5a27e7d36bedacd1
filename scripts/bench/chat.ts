/** Pairs of clients that send messages to each other; measures delivery and checks the content. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Chatter } from './chatter.js'
import { Flow, Meter } from './flow.js'
import { cpuSeconds, mainThreadSeconds, memoryKiB, ownCpuSeconds } from './machine.js'
import type { Peer, Wire } from './peers.js'
import { userId } from './program.js'
import type { Server } from './server.js'

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
  skipped: during.skipped ?? 0,
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
}

export class Chat {
  readonly #meter = new Meter()
  readonly #flows: Flow[] = []
  readonly #chatters: Chatter[] = []
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /** Users 2n and 2n + 1 are a pair. Both send, except from JSON to MQTT, where only the first sends. */
  static async open({ peer, server, wire, users, first = 0 }: ChatOptions): Promise<Chat> {
    const chat = new Chat(server)
    for (let n = first; n < first + users; n += 2) {
      const a = peer.connect(server, 'sender', wire)
      const b = peer.connect(server, 'recipient', wire)
      chat.#chatters.push(a, b)
      chat.#join(a, b, userId(n + 1))
      if (wire !== 'json-mqtt') chat.#join(b, a, userId(n))
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

  /** Sends as fast as messages are acknowledged, for `seconds` after a warm-up. */
  async flood(warmUpSeconds: number, seconds: number): Promise<Values> {
    const senders = this.#chatters.filter(chatter => chatter.outgoing !== undefined)
    for (const chatter of senders) chatter.flood()
    await this.#unbroken(warmUpSeconds * 1000)
    const values = await this.measure(() => this.#unbroken(seconds * 1000))
    for (const chatter of senders) chatter.isFlooding = false
    await this.settle()
    return { ...values, ...this.faults() }
  }

  /** Each sender sends one message every `intervalMs`, evenly spread, until `work` resolves. */
  async pace(intervalMs: number, work: () => Promise<unknown>): Promise<Values> {
    const senders = this.#chatters.filter(chatter => chatter.outgoing !== undefined)
    let turn = 0
    let skipped = 0
    const begun = performance.now()
    const timer = setInterval(() => {
      const due = ((performance.now() - begun) / intervalMs) * senders.length
      for (; turn < due; turn++) if (senders[turn % senders.length]?.sendOne() === false) skipped++
    }, 1)
    const values = await this.measure(work)
    clearInterval(timer)
    await this.settle()
    // If the window is full, the message is not sent, and its delay would not be measured.
    return { ...values, ...this.faults(), skipped }
  }

  async measure(work: () => Promise<unknown>): Promise<Values> {
    const meter = this.#meter
    meter.latency.reset()
    meter.delivered = 0
    meter.isOn = true
    const { pid } = this.#server
    const before = [performance.now(), ownCpuSeconds(), cpuSeconds(pid), mainThreadSeconds(pid)] as const
    await work()
    const seconds = (performance.now() - before[0]) / 1000
    meter.isOn = false
    const serverCpu = cpuSeconds(pid) - before[2]
    return {
      'messages/s': meter.delivered / seconds,
      'messages/server CPU s': meter.delivered / serverCpu,
      'p50 ms': meter.latency.percentile(50) / 1000,
      'p99 ms': meter.latency.percentile(99) / 1000,
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
    await delay(5)
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
