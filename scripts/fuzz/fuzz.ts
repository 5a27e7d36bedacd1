/** Sends the inputs in batches and checks the server after each batch. */
import type { Random } from '../random.js'
import type { ServerProcess } from '../server-process.js'
import { gather, knock } from './crowd.js'
import { HttpFlood } from './http-flood.js'
import { Innocents, newcomer } from './innocents.js'
import { type Door, Fault } from './input.js'
import { JsonDoor } from './json-door.js'
import { type Held, type ServerMemory, sum } from './memory.js'
import { MqttDoor } from './mqtt-door.js'
import { FramesDoor, HandshakeDoor } from './websocket-door.js'
import type { World } from './world.js'

/** Workers; each sends one input at a time. */
const WORKERS = 4
const BATCH = 500
const MAX_LATENCY_MS = 100
/** The same during the HTTP flood, whose clients share this process and machine with the innocent pair. */
const MAX_FLOOD_LATENCY_MS = 300
/** Extra attempts, because a healthy server may look slow on a busy machine. */
const RETRIES = 2
const MAX_GROWTH = 1.2
/** Memory that no object holds: the allocator keeps part of what a burst needed; see docs/security.md. */
const MAX_RESIDENT_GROWTH_BYTES = 128 * 2 ** 20
/** Clients of each kind in a crowd. */
const CROWD = 100
/** Empty connections to each port: many times the reader slots of LMDB (126). */
const KNOCKS = 1_000
/** Limit for one message when a flood begins, generous enough for a busy machine. */
const MAX_STALL_MS = 2_000
/** Duration of the checks during the HTTP flood. */
const FLOOD_MS = 2_000
const MAX_FAULTS = 3
const MAX_HEX = 4_000

export interface FuzzOptions {
  readonly seed: string
  readonly inputs: number
  readonly first: number
  readonly say: (text: string) => void
}

export class Fuzz {
  /** Faults with their seed; inputs that may have caused one are indented below it. */
  readonly faults: string[] = []
  faultCount = 0
  /** Counts by input kind and outcome. */
  readonly outcomes = new Map<string, number>()
  done = 0
  medianMs = 0
  longestMs = 0
  warm: Held = { heap: 0, external: 0, resident: 0 }
  end: Held = this.warm
  readonly #doors: readonly (readonly Door[])[]
  #isOver = false

  constructor(
    private readonly server: ServerProcess,
    private readonly memory: ServerMemory,
    private readonly world: World,
    private readonly random: Random,
    private readonly options: FuzzOptions,
  ) {
    this.#doors = Array.from({ length: WORKERS }, () => [
      new JsonDoor(world, false),
      new JsonDoor(world, true),
      new HandshakeDoor(world),
      new FramesDoor(world),
      new MqttDoor(world, false),
      new MqttDoor(world, true),
    ])
  }

  /** Reports a fault without a known input: one of the inputs in flight caused it. */
  suspect(what: string): void {
    const current = this.#doors.flat().flatMap(({ current }) => current ?? [])
    this.#fault(what)
    for (const { kind, bytes } of current) this.faults.push(`  on its way: ${kind} ${hex(bytes)}`)
  }

  /** The server has ended. */
  stop(): void {
    this.#isOver = true
  }

  async run(): Promise<void> {
    const { inputs, first, say } = this.options
    const innocents = await Innocents.join(this.world)
    // Warm-up: code is compiled, caches and pools fill. That memory is not given back.
    const warmUp = Math.min(2 * BATCH, Math.ceil(inputs / 2))
    for (let at = 0; at < inputs && !this.#isOver; ) {
      const end = Math.min(inputs, at < warmUp ? warmUp : at + BATCH)
      await this.#batch(first + at, first + end)
      await this.#check(innocents, `inputs ${first + at} to ${first + end - 1}`)
      if (at === 0) {
        await this.#crowd(innocents)
        const flood = await this.#flood(innocents)
        flood.end()
      }
      if (at === 0) this.warm = (await this.#settled(() => false)) ?? this.warm
      at = end
      say(`${at} inputs, ${this.faultCount} faults`)
    }
    await this.#crowd(innocents)
    const flood = await this.#flood(innocents)
    // The clients that read nothing are still connected and must not cost anything now.
    await this.#checkMemory()
    flood.end()
  }

  async #batch(from: number, to: number): Promise<void> {
    let next = from
    const work = async (doors: readonly Door[]) => {
      while (next < to && !this.#isOver) await this.#input(doors, next++)
    }
    await Promise.all(this.#doors.map(work))
  }

  /** Every input has its own random generator, so the same seed and number reproduce it. */
  async #input(doors: readonly Door[], n: number): Promise<void> {
    const random = this.random.fork(String(n))
    const door = random.pick(doors)
    try {
      const outcome = await door.send(random)
      this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1)
      this.done++
    } catch (error) {
      if (this.#isOver) return
      if (!(error instanceof Fault)) throw error
      const { kind = 'no input', bytes = Buffer.alloc(0) } = door.current ?? {}
      door.close()
      this.#fault(`input ${n}, ${kind}: ${error.message}: ${hex(bytes)}`)
    }
  }

  #fault(what: string): void {
    this.faults.push(`seed ${this.options.seed}, ${what}`)
    this.options.say(what)
    if (++this.faultCount >= MAX_FAULTS) this.#isOver = true
  }

  async #check(innocents: Innocents, when: string, maxMs = MAX_LATENCY_MS): Promise<void> {
    if (this.#isOver) return
    try {
      // A limit by address would refuse it.
      if (!this.world.isCounted) {
        await this.world.checkReady()
        await newcomer(this.world)
      }
      for (let tries = RETRIES; ; tries--) {
        const { median, longest } = await innocents.talk()
        this.longestMs = Math.max(this.longestMs, longest)
        if (median > maxMs && tries > 0) continue
        this.medianMs = Math.max(this.medianMs, median)
        if (median > maxMs) throw new Fault(`a healthy pair needs ${Math.round(median)} ms for a message`)
        return
      }
    } catch (error) {
      if (this.#isOver) return
      if (!(error instanceof Fault)) throw error
      this.#fault(`after ${when}: ${error.message}`)
    }
  }

  async #crowd(innocents: Innocents): Promise<void> {
    if (this.#isOver) return
    const disperse = await gather(this.world, CROWD)
    await this.#check(innocents, 'a crowd came')
    disperse()
    await this.#check(innocents, 'a crowd left')
    await knock(this.world, KNOCKS).catch(error => {
      if (!this.#isOver) this.#fault(`while many came and left without a byte: ${error.message}`)
    })
    await this.#check(innocents, 'many came and left without a byte')
  }

  async #flood(innocents: Innocents): Promise<HttpFlood> {
    const flood = await HttpFlood.gather(this.world)
    try {
      const { longest } = await innocents.talk()
      if (longest > MAX_STALL_MS)
        throw new Fault(`a healthy pair needs ${Math.round(longest)} ms for a message`)
      for (const until = performance.now() + FLOOD_MS; performance.now() < until && !this.#isOver; )
        await this.#check(innocents, 'HTTP requests began to flood in', MAX_FLOOD_LATENCY_MS)
      await flood.stop()
    } catch (error) {
      if (!this.#isOver)
        this.#fault(`in a flood of HTTP requests: ${error instanceof Error ? error.message : error}`)
    }
    await this.#check(innocents, 'a flood of HTTP requests')
    return flood
  }

  /** @returns undefined where the server is over, or does not answer, which is a fault: those before it are still told */
  async #settled(isEnough: (held: Held) => boolean): Promise<Held | undefined> {
    if (this.#isOver) return undefined
    try {
      return await this.memory.settled(this.server, isEnough)
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      this.#fault(error.message)
      this.stop()
      return undefined
    }
  }

  async #checkMemory(): Promise<void> {
    if (this.#isOver) return
    const { warm } = this
    const isFine = (end: Held) =>
      sum(end) <= sum(warm) * MAX_GROWTH && end.resident <= warm.resident + MAX_RESIDENT_GROWTH_BYTES
    const end = await this.#settled(isFine)
    if (end === undefined) return
    this.end = end
    if (sum(end) > sum(warm) * MAX_GROWTH)
      this.#fault(`memory grew from ${mebibytes(sum(warm))} to ${mebibytes(sum(end))} MiB`)
    else if (!isFine(end))
      this.#fault(
        `resident memory grew from ${mebibytes(warm.resident)} to ${mebibytes(end.resident)} MiB, and no object holds it`,
      )
  }
}

export const mebibytes = (bytes: number): number => Math.round(bytes / 2 ** 20)

const hex = (bytes: Buffer): string =>
  bytes.length <= MAX_HEX / 2
    ? bytes.toString('hex')
    : `${bytes.toString('hex', 0, MAX_HEX / 2)}… of ${bytes.length} bytes`
