/** Commits of the embedded store: on which thread each is made, when it may be acknowledged, and what a failed one means. */
import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { RootDatabase } from 'lmdb'
import { GatewayError } from '../../core/errors.js'
import { onCommitFailure } from './commit-failures.js'
import type { DiskSync } from './disk-sync.js'
import { CodedError, isCommitFailure, reasonText, toStoreError } from './errors.js'
import type { Table } from './table.js'

export type Durability = 'commit' | 'flush'

/** Commits that can be told apart while they are under way; more of them just wait for lmdb's promise. */
const MARKS = 32
/**
 * A commit of so many puts is made on this thread if none is under way, once a turn: to wake lmdb's thread and to wait for it costs
 * more than the commit itself. A commit of 64 messages, which are three puts each, stops this thread for about 2 ms.
 */
const FEW_PUTS = 200

export interface CommitOptions {
  readonly root: RootDatabase
  /** [n mod MARKS] → the mark of commit n: who can read that, can read all of it. */
  readonly marks: Table<string>
  readonly dir: string
  readonly durability: Durability
  /** undefined: lmdb syncs by itself, and its promises wait for that. */
  readonly disk: DiskSync | undefined
  readonly times?: StoreTimes | undefined
}

/** Called with how long something took, s. */
export interface StoreTimes {
  readonly commit: (seconds: number) => void
  readonly sync: (seconds: number) => void
}

export interface Work<T> {
  /** Does not wait, and throws before its first put or never. */
  readonly run: () => T
  /** Whether it reads; it sees all that was written before. */
  readonly reads: boolean
  /** Puts and removes, roughly. */
  readonly puts: number
  /** What it stores was acknowledged before: it is in the journal. */
  readonly isAcknowledged?: true
}

export class Commits {
  readonly #options: CommitOptions
  /** Commits of lmdb's thread. */
  readonly #underWay = new Set<Promise<unknown>>()
  /** Of those, and not acknowledged. */
  #unacknowledged = 0
  /** A commit was made on this thread in this turn of the event loop. */
  #isTurnUsed = false
  readonly #run = randomUUID()
  #count = 0
  #last: Promise<unknown> = Promise.resolve()
  #lastFailure = 0
  #broken: GatewayError | undefined
  readonly #waiting = new Set<(error: GatewayError) => void>()

  constructor(options: CommitOptions) {
    this.#options = options
    onCommitFailure(options.root, code => {
      this.#lastFailure = code
    })
  }

  /** @throws GatewayError if it is broken */
  check(): void {
    if (this.#broken !== undefined) throw this.#broken
  }

  /** Set when nobody can say any more what of the file is on the disk, or lmdb never gives its lock back. */
  get broken(): boolean {
    return this.#broken !== undefined
  }

  /** Resolves when the commit is as durable as was asked for, in the order of the calls. @throws GatewayError */
  async run<T>(work: Work<T>): Promise<T> {
    this.check()
    const { disk, durability, times } = this.#options
    const since = performance.now()
    const isHere =
      disk !== undefined && !this.#isTurnUsed && this.#underWay.size === 0 && work.puts <= FEW_PUTS
    const result = isHere ? this.#runHere(work.run) : await this.#runBehind(work)
    times?.commit((performance.now() - since) / 1000)
    disk?.committed(work.isAcknowledged)
    if (disk !== undefined && durability === 'flush' && !work.isAcknowledged) await this.#synced(disk)
    return result
  }

  /**
   * On this thread, once a turn of the event loop. Nothing is waited for here, so a row of commits, such as the batches of a
   * long backlog, would otherwise run to its end before any socket is read.
   */
  #runHere<T>(work: () => T): T {
    this.#isTurnUsed = true
    setImmediate(this.#newTurn)
    const { root, dir } = this.#options
    const results: T[] = []
    try {
      // It must return nothing: lmdb would wait for what put and remove return, with its lock held.
      root.transactionSync(() => {
        results.push(work())
      })
    } catch (thrown) {
      const isCoded = thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'number'
      throw toStoreError(isCoded ? new CodedError(thrown.code as number) : thrown, dir)
    }
    return results[0] as T
  }

  readonly #newTurn = (): void => {
    this.#isTurnUsed = false
  }

  /** On lmdb's thread. */
  async #runBehind<T>(work: Work<T>): Promise<T> {
    const { marks } = this.#options
    const n = ++this.#count
    const key: [number] = [n % MARKS]
    const mark = `${this.#run} ${n}`
    const results: T[] = []
    const commit = this.#begin(work.reads, () => {
      results.push(work.run())
      marks.put(key, mark)
    })
    const writing = this.#settle(commit, () => marks.get(key) === mark)
    this.#underWay.add(writing)
    const forget = () => this.#underWay.delete(writing)
    writing.then(forget, forget)
    const done = this.#unlessBroken(writing)
    if (work.isAcknowledged) {
      await done.finally(this.#renewReads)
      return results[0] as T
    }
    this.#unacknowledged++
    // Acknowledgements keep the order of the calls: lmdb's promises do not, and callers' protocols rely on it.
    this.#last = Promise.allSettled([this.#last, done]).then(this.#renewReads)
    await this.#last
    this.#unacknowledged--
    await done
    return results[0] as T
  }

  /** Never throws: what the work itself throws is a rejection like any other. */
  async #begin(reads: boolean, work: () => void): Promise<void> {
    const { root } = this.#options
    await (reads ? root.transaction(work) : root.batch(work))
  }

  /** A read of this turn may have begun before the commit, and what is acknowledged can be read. */
  readonly #renewReads = (): void => this.#options.root.resetReadTxn()

  async #synced(disk: DiskSync): Promise<void> {
    try {
      await disk.synced()
    } catch (thrown) {
      throw this.#broken ?? toStoreError(thrown, this.#options.dir)
    }
  }

  /** Resolves when all that was asked for is acknowledged; undefined if it is. */
  get acknowledged(): Promise<unknown> | undefined {
    return this.#unacknowledged === 0 ? undefined : this.#last
  }

  /** Resolves when all that is committed survives a power cut. @throws GatewayError */
  async durable(): Promise<void> {
    if (this.#options.disk !== undefined) await this.#synced(this.#options.disk)
  }

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    if (this.broken) return
    await Promise.allSettled(this.#underWay)
    await this.#last
  }

  async #settle(commit: Promise<unknown>, isReadable: () => boolean): Promise<void> {
    const { root, durability, dir, disk } = this.#options
    try {
      await commit
      if (disk === undefined && durability === 'flush') await sync(root)
    } catch (thrown) {
      if (thrown instanceof GatewayError) throw thrown
      if (isCommitFailure(thrown)) thrown.commitError.catch(() => undefined)
      await nextTurn() // the code may come behind the rejection
      // With three commits under way lmdb loses sight of the middle one, and rejects it if the last one fails.
      if (this.#isThere(isReadable) && disk !== undefined) return
      throw (
        this.#broken ??
        toStoreError(isCommitFailure(thrown) ? new CodedError(this.#lastFailure) : thrown, dir)
      )
    }
  }

  #isThere(isReadable: () => boolean): boolean {
    try {
      this.#options.root.resetReadTxn()
      return isReadable()
    } catch (cause) {
      this.break(cause)
      return false
    }
  }

  #unlessBroken(writing: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject)
      const forget = () => this.#waiting.delete(reject)
      void writing.then(resolve, reject).then(forget)
    })
  }

  /** Nothing is accepted any more. */
  break(cause: unknown): void {
    const reason = `${reasonText(cause)}; start the gateway anew once the disk is well`
    this.#broken ??= new GatewayError('STORE_UNAVAILABLE', { reason }, cause)
    for (const reject of this.#waiting) reject(this.#broken)
  }
}

/** Not `root.flushed`, which never resolves once a later commit has failed. */
function sync(root: RootDatabase): Promise<void> {
  const { sync } = root as unknown as { sync(done: (error?: Error) => void): void }
  return new Promise((resolve, reject) => sync(error => (error === undefined ? resolve() : reject(error))))
}
