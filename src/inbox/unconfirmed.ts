/**
 * What is unconfirmed in all inboxes, those of users who are away, too: round after round over the accounts, so many a
 * second, since a scrape must not read the whole store.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Buckets } from '../core/histogram.js'
import { madeAt, type UserId } from '../core/model.js'
import type { Unconfirmed } from '../core/watched.js'
import type { Roles } from '../store/store.js'

const EVERY_MS = 1000
/** From the end of a round to the beginning of the next. */
const PAUSE_MS = 10_000
/** Inboxes that are looked at in one turn of the event loop, where the store answers at once. */
const A_TURN = 10
const MESSAGES = [0, 1, 10, 100, 1000, 10_000, 100_000]
const AGES = [10, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400]

const newRound = () => ({
  messages: new Buckets(MESSAGES),
  mostMessages: 0,
  ages: new Buckets(AGES),
  oldestSeconds: 0,
})

export class UnconfirmedRounds {
  #timer: NodeJS.Timeout | undefined
  #found: Unconfirmed | undefined
  #round = newRound()
  #after: UserId | undefined
  #nextAt = 0
  #step: Promise<void> | undefined

  /**
   * @param confirmedByAll highest seq that every device has confirmed; see Trimmer
   * @param perSecond inboxes; 0 = none is looked at
   */
  constructor(
    private readonly store: Pick<Roles, 'users' | 'inbox'>,
    private readonly confirmedByAll: (userId: UserId) => Promise<number>,
    private readonly perSecond: number,
  ) {}

  start(): void {
    if (this.perSecond > 0) this.#timer = setInterval(() => void this.step(), EVERY_MS).unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#step
  }

  /** By the last whole round. */
  get found(): Unconfirmed | undefined {
    return this.#found
  }

  /** Goes on with the round, if it is time. Never rejects: where the store fails, the next call goes on. */
  step(): Promise<void> {
    if (performance.now() < this.#nextAt) return Promise.resolve()
    this.#step ??= this.#run()
      .catch(() => undefined)
      .finally(() => {
        this.#step = undefined
      })
    return this.#step
  }

  async #run(): Promise<void> {
    const users = await this.store.users.findUsers({}, this.perSecond, this.#after)
    for (const [i, { id }] of users.entries()) {
      await this.#look(id)
      this.#after = id
      if (i % A_TURN === A_TURN - 1) await nextTurn()
    }
    if (users.length === this.perSecond) return
    this.#found = { ...this.#round, endedAt: performance.now() }
    this.#round = newRound()
    this.#after = undefined
    this.#nextAt = performance.now() + PAUSE_MS
  }

  async #look(userId: UserId): Promise<void> {
    const { inbox } = this.store
    const round = this.#round
    const last = await inbox.lastSeq(userId)
    const confirmed = last === 0 ? 0 : await this.confirmedByAll(userId)
    // What a limit has removed is gone.
    const [oldest] = last > confirmed ? await inbox.readInbox(userId, confirmed, 1, 1) : []
    const messages = oldest === undefined ? 0 : last - oldest.seq + 1
    round.messages.observe(messages)
    round.mostMessages = Math.max(round.mostMessages, messages)
    if (oldest === undefined) return
    const seconds = Math.max(0, Date.now() - madeAt(oldest.id)) / 1000
    round.ages.observe(seconds)
    round.oldestSeconds = Math.max(round.oldestSeconds, seconds)
  }
}
