/**
 * The right to use the broker's state of one name. Only one gateway at a time may have it, since each keeps an index of
 * that state in memory. The holder increments a counter, the beat, every BEAT_MS. A gateway that finds another holder
 * watches the beat for WATCH_MS and takes over if it does not change. No clocks are compared. A holder whose process on
 * this machine has ended is not watched.
 */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { GatewayError } from '../../core/errors.js'
import type { GatewayDocument } from './documents.js'
import { type MongoEnv, unavailable } from './env.js'
import { isDuplicate, toStoreError } from './errors.js'

const BEAT_MS = 2000
/** Longer than a holder needs to detect that it has lost the lease; see `check`. */
const WATCH_MS = 4 * BEAT_MS

/** Distinguishes this process from an earlier one with the same pid: in containers the pid is always the same. */
const PROCESS = randomUUID()

export class MongoLease {
  readonly #env: MongoEnv
  readonly #holder = randomUUID()
  #timer: NodeJS.Timeout | undefined
  #beat: Promise<void> | undefined
  #seenAt = Number.NEGATIVE_INFINITY
  #lost: GatewayError | undefined

  constructor(env: MongoEnv) {
    this.#env = env
  }

  /** @throws GatewayError STORE_UNAVAILABLE if another running gateway has the lease */
  async take(): Promise<void> {
    const begun = performance.now()
    while (!(await this.#tryTake()));
    this.#seenAt = begun
    this.#timer = setInterval(() => void this.renew().catch(() => undefined), BEAT_MS).unref()
  }

  async #tryTake(): Promise<boolean> {
    const { gateway } = this.#env.options
    const found = await this.#env.run(() => this.#env.gateways.findOne({ _id: gateway }))
    if (found === null) return this.#insert(gateway)
    if (found.holder !== undefined && !isGone(found)) await this.#watch(found)
    const unchanged = { _id: gateway, holder: found.holder ?? { $exists: false }, beat: found.beat }
    const mine = { $set: this.#record(), $inc: { beat: 1 } }
    return (await this.#env.run(() => this.#env.gateways.updateOne(unchanged, mine))).modifiedCount === 1
  }

  #record() {
    return { holder: this.#holder, host: hostname(), pid: process.pid, process: PROCESS }
  }

  async #insert(_id: string): Promise<boolean> {
    try {
      await this.#env.gateways.insertOne({ _id, beat: 1, ...this.#record() })
      return true
    } catch (thrown) {
      if (isDuplicate(thrown)) return false
      throw toStoreError(thrown)
    }
  }

  /** Resolves if the holder's beat does not change or the holder changes. @throws GatewayError if the beat changes */
  async #watch({ _id, holder, beat, host, pid }: GatewayDocument): Promise<void> {
    const end = performance.now() + WATCH_MS
    while (performance.now() < end) {
      await delay(BEAT_MS / 4)
      const now = await this.#env.run(() => this.#env.gateways.findOne({ _id }))
      if (now?.holder !== holder) return
      if (now?.beat === beat) continue
      const reason = `store.mongodb.gateway: '${_id}' is the gateway at ${host}, process ${pid}; give this one another name`
      throw unavailable(reason)
    }
  }

  /** Writes a beat. This also shows that the server accepts writes. @throws GatewayError */
  renew(): Promise<void> {
    this.#beat ??= this.#renew().finally(() => {
      this.#beat = undefined
    })
    return this.#beat
  }

  async #renew(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost
    const begun = performance.now()
    const mine = { _id: this.#env.options.gateway, holder: this.#holder }
    const { matchedCount } = await this.#env.run(() =>
      this.#env.gateways.updateOne(mine, { $inc: { beat: 1 } }),
    )
    if (matchedCount === 1) this.#seenAt = begun
    else this.#lose()
  }

  #lose(): never {
    this.#lost ??= unavailable('another gateway took over; start this one anew')
    throw this.#lost
  }

  /** Resolves when no other gateway can have taken over yet. @throws GatewayError */
  async check(): Promise<void> {
    if (this.#lost !== undefined || performance.now() - this.#seenAt > WATCH_MS / 2) await this.renew()
  }

  async release(): Promise<void> {
    clearInterval(this.#timer)
    await this.#beat?.catch(() => undefined)
    const mine = { _id: this.#env.options.gateway, holder: this.#holder }
    await this.#env
      .run(() => this.#env.gateways.updateOne(mine, { $unset: { holder: '' } }))
      .catch(() => undefined)
  }
}

/** Whether the holder's process has certainly ended. */
function isGone({ host, pid = 0, process: holder }: GatewayDocument): boolean {
  if (host !== hostname()) return false
  if (pid === process.pid) return holder !== PROCESS
  try {
    process.kill(pid, 0)
    return false
  } catch (thrown) {
    return thrown instanceof Error && 'code' in thrown && thrown.code === 'ESRCH'
  }
}
