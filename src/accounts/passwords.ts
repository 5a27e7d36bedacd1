/**
 * bcrypt in a few threads of low priority: a login storm delays logins and not messages. Not in Node's own threads, which
 * write the store's commits: on one core a thousand logins made the p99 of running chats 2.4 times as long there, and do
 * not show here (docs/performance.md).
 */
import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Worker } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { GatewayError } from '../core/errors.js'
import { LENGTHS } from '../core/model.js'

export interface PasswordOptions {
  /** log2 of bcrypt's rounds. */
  readonly cost: number
  /** Hashes at the same time; each keeps one thread busy. 0: one less than the cores, at least one. */
  readonly concurrency: number
  /** Hashes that may wait; more are refused. */
  readonly queue: number
  /** One was refused. */
  readonly onBusy?: () => void
  /** A thread failed, with nothing to do: another takes its place at the next hash. */
  readonly onThreadError?: (error: Error) => void
}

/** Added to the threads' nice value: a tenth of what the event loop gets where both want the same core. */
const NICE = 10
/** Salt and hash as bcrypt writes them (22 and 31 characters), of no password. */
const NO_HASH = '.'.repeat(53)
/**
 * bcrypt reads 72 bytes and stops at NUL: SHA-256 before it makes every byte of every password count, and base64
 * keeps NUL out.
 */
const prehash = (text: string) => createHash('sha256').update(text).digest('base64')

/** RFC 8265, 4.2.2 (OpaqueString): every space is U+0020, then NFC: the same password typed on another keyboard. */
const opaque = (password: string) => password.replace(/\p{Zs}/gu, ' ').normalize('NFC')

/** The form that hashes were made of before: without the rule for spaces. */
const formerly = (password: string) => password.normalize('NFC')

/** @param concurrency as PasswordOptions has it */
export const hashThreads = (concurrency: number): number =>
  concurrency || Math.max(1, availableParallelism() - 1)

export class Passwords {
  readonly #threads: Piscina
  /** When each thread has loaded what it runs, or has failed. */
  readonly #loaded = new WeakMap<Worker, Promise<unknown>>()

  constructor(private readonly options: PasswordOptions) {
    const threads = hashThreads(options.concurrency)
    this.#threads = new Piscina({
      filename: fileURLToPath(new URL('password-worker.js', import.meta.url)),
      // All from the start and for good: a thread opens files, and there may be none left when a login comes.
      minThreads: threads,
      maxThreads: threads,
      maxQueue: options.queue,
      niceIncrement: NICE,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 4 },
    })
    // Without a listener it would end the process.
    this.#threads.on('error', (error: Error) => {
      this.#watchNewThreads()
      options.onThreadError?.(error)
    })
    this.#watchNewThreads()
  }

  /** @throws GatewayError ERROR_AUTH_FAILED (retry) when too many wait */
  hash(password: string): Promise<string> {
    return this.#run('hash', { text: prehash(opaque(password)), cost: this.options.cost })
  }

  /**
   * A password with other spaces than U+0020 costs two comparisons, whoever it is for.
   * @throws GatewayError ERROR_AUTH_FAILED (retry) when too many wait
   */
  async matches(password: string, hash: string): Promise<boolean> {
    // None was ever taken that long: nothing is done with it.
    if (password.length > LENGTHS.password) return false
    const text = opaque(password)
    if (await this.#run('compare', { text: prehash(text), hash })) return true
    const old = formerly(password)
    return old !== text && this.#run('compare', { text: prehash(old), hash })
  }

  /** Whether a hash is cheaper to guess than `cost` asks for today. Its text: `$2b$10$…`. */
  isCheap(hash: string): boolean {
    return Number(hash.split('$')[2]) < this.options.cost
  }

  /** Takes as long as `matches` and is always false: for an account that does not exist. */
  async matchesNobody(password: string): Promise<false> {
    await this.matches(password, `$2b$${String(this.options.cost).padStart(2, '0')}$${NO_HASH}`)
    return false
  }

  /** Ends the threads; what waits is refused. */
  async close(): Promise<void> {
    // A thread that is ended while it loads a native module ends the process (Napi::Error, SIGABRT).
    await Promise.all(this.#threads.threads.map(thread => this.#loaded.get(thread)))
    await this.#threads.destroy()
  }

  /** The first message of a thread says that it has loaded. */
  #watchNewThreads(): void {
    for (const thread of this.#threads.threads) {
      if (this.#loaded.has(thread)) continue
      const loaded = new Promise(resolve => {
        for (const event of ['message', 'error', 'exit']) thread.once(event, resolve)
      })
      this.#loaded.set(thread, loaded)
    }
  }

  async #run<T>(name: 'hash' | 'compare', task: object): Promise<T> {
    if (this.#threads.queueSize >= this.options.queue) {
      this.options.onBusy?.()
      throw new GatewayError('ERROR_AUTH_FAILED', { reason: 'too many logins at once, try again' })
    }
    try {
      return await this.#threads.run(task, { name })
    } catch (error) {
      // The thread may have failed; then another one has taken its place.
      this.#watchNewThreads()
      throw error
    }
  }
}
