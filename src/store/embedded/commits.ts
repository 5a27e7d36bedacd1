/** Commits of the embedded store under way: when each may be acknowledged, and what a failed one means. */
import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { RootDatabase } from 'lmdb'
import { GatewayError } from '../../core/errors.js'
import { CodedError, isCommitFailure, reasonText, toStoreError } from './errors.js'
import { onProgress, survivesUnsynced } from './progress.js'
import type { Table } from './table.js'

export type Durability = 'commit' | 'flush'

/** Commits that can be told apart while they are under way; more of them just wait for lmdb's promise. */
const MARKS = 32

export interface CommitOptions {
  readonly root: RootDatabase
  /** [n mod MARKS] → the mark of commit n: who can read that, can read all of it. */
  readonly marks: Table<string>
  readonly dir: string
  readonly durability: Durability
}

/** Begins a commit, and puts the mark in it. */
type Start = (mark: () => void) => Promise<unknown>

interface Pending {
  /** Acknowledges it if it can be read. */
  check(): void
  fail(error: GatewayError): void
}

export class Commits {
  readonly #options: CommitOptions
  /** Whether what can be read is as durable as was asked for. */
  readonly #early: boolean
  readonly #pending = new Map<Promise<void>, Pending>()
  readonly #run = randomUUID()
  #count = 0
  #last: Promise<unknown> = Promise.resolve()
  #lastFailure = 0
  #broken: GatewayError | undefined

  constructor(options: CommitOptions) {
    this.#options = options
    this.#early = options.durability === 'commit' && survivesUnsynced()
    onProgress(options.root, {
      visible: () => this.#early && this.#acknowledge(),
      failed: code => {
        this.#lastFailure = code
      },
    })
  }

  /** Set when LMDB's meta page could not be written: lmdb never gives its lock back to the next commit after that. */
  get broken(): boolean {
    return this.#broken !== undefined
  }

  /**
   * Resolves when the commit is as durable as was asked for, in the order of the calls.
   */
  async run(start: Start): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken
    const { marks } = this.#options
    const n = ++this.#count
    const key: [number] = [n % MARKS]
    const mark = `${this.#run} ${n}`
    const isReadable = () => marks.get(key) === mark
    const writing = this.#settle(this.#begin(start, key, mark), isReadable)
    const forget = () => this.#pending.delete(writing)
    writing.then(forget, forget)
    const durable = new Promise<void>((resolve, reject) => {
      this.#pending.set(writing, { check: () => isReadable() && resolve(), fail: reject })
      writing.then(resolve, reject)
    })
    // Acknowledgements keep the order of the calls: lmdb's promises do not, and callers' protocols rely on it.
    this.#last = Promise.allSettled([this.#last, durable]).then(this.#renewReads)
    await this.#last
    await durable
  }

  /** Never throws: what `start` itself throws is a rejection like any other. */
  async #begin(start: Start, key: [number], mark: string): Promise<void> {
    await start(() => void this.#options.marks.put(key, mark))
  }

  /** A read of this turn may have begun before the commit, and what is acknowledged can be read. */
  readonly #renewReads = (): void => this.#options.root.resetReadTxn()

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    if (this.broken) return
    await Promise.allSettled(this.#pending.keys())
    await this.#last
  }

  #acknowledge(): void {
    this.#options.root.resetReadTxn()
    for (const { check } of this.#pending.values()) check()
  }

  async #settle(commit: Promise<unknown>, isReadable: () => boolean): Promise<void> {
    const { root, durability, dir } = this.#options
    try {
      await commit
      if (durability === 'flush') await sync(root)
    } catch (thrown) {
      if (thrown instanceof GatewayError) throw thrown
      if (isCommitFailure(thrown)) thrown.commitError.catch(() => undefined)
      await nextTurn() // the code may come behind the rejection
      // With three commits under way lmdb loses sight of the middle one, and rejects it if the last one fails.
      if (this.#isThere(isReadable) && this.#early) return
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
      this.#break(cause)
      return false
    }
  }

  #break(cause: unknown): void {
    const reason = `${reasonText(cause)}; start the gateway anew once the disk is well`
    this.#broken ??= new GatewayError('STORE_UNAVAILABLE', { reason }, cause)
    for (const { fail } of this.#pending.values()) fail(this.#broken)
  }
}

/** Not `root.flushed`, which never resolves once a later commit has failed. */
function sync(root: RootDatabase): Promise<void> {
  const { sync } = root as unknown as { sync(done: (error?: Error) => void): void }
  return new Promise((resolve, reject) => sync(error => (error === undefined ? resolve() : reject(error))))
}
