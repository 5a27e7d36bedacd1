/**
 * bcrypt in a few threads of low priority, so that many logins delay logins and not messages. Node's thread pool is not
 * used because it writes the store's commits: on one core, a thousand logins made the p99 of running chats 2.4 times as
 * long there, and have no measurable effect here (docs/performance.md).
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
  /** Hashes at the same time; each keeps one thread busy. 0 = the number of cores minus one, at least one. */
  readonly concurrency: number
  /** Most hashes that may wait. Further ones are refused. */
  readonly queue: number
  /** A hash was refused because the queue is full. */
  readonly onBusy?: () => void
  /** A thread failed while it was idle. A new one replaces it at the next hash. */
  readonly onThreadError?: (error: Error) => void
}

/** Added to the nice value of the threads. On a core that both want, they get a tenth of the event loop's time. */
const NICE = 10
/** Salt and hash in bcrypt's format (22 and 31 characters) that no password has. */
const NO_HASH = '.'.repeat(53)
/**
 * SHA-256 before bcrypt, since bcrypt reads only 72 bytes and stops at NUL. So every byte of every password counts, and
 * base64 contains no NUL.
 */
const prehash = (text: string) => createHash('sha256').update(text).digest('base64')

/** RFC 8265, 4.2.2 (OpaqueString): every space becomes U+0020, then NFC, so that keyboards do not matter. */
const opaque = (password: string) => password.replace(/\p{Zs}/gu, ' ').normalize('NFC')

/** The normalisation of earlier hashes, without the rule for spaces. */
const formerly = (password: string) => password.normalize('NFC')

/** The number of threads. @param concurrency as in PasswordOptions */
export const hashThreads = (concurrency: number): number =>
  concurrency || Math.max(1, availableParallelism() - 1)

/** Before bcrypt of what the old MumiChat server stored instead of a password. */
const OF_OLD = 'mumichat:'
/** What that server stored: SHAKE-256 of the password's UTF-8, 64 bytes, in base64, without a salt. */
const oldHash = (password: string) =>
  createHash('shake256', { outputLength: 64 }).update(password).digest('base64')

export class Passwords {
  readonly #threads: Piscina
  /** Thread → a promise that resolves when it has loaded its code or has failed. */
  readonly #loaded = new WeakMap<Worker, Promise<unknown>>()

  constructor(private readonly options: PasswordOptions) {
    const threads = hashThreads(options.concurrency)
    this.#threads = new Piscina({
      filename: fileURLToPath(new URL('password-worker.js', import.meta.url)),
      // Threads start now and stay: starting one opens files, and no descriptor may be left when a login comes.
      minThreads: threads,
      maxThreads: threads,
      maxQueue: options.queue,
      niceIncrement: NICE,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 4 },
    })
    // An 'error' event without a listener would end the process.
    this.#threads.on('error', (error: Error) => {
      this.#watchNewThreads()
      options.onThreadError?.(error)
    })
    this.#watchNewThreads()
  }

  /** @throws GatewayError ERROR_AUTH_FAILED (retry) if too many hashes wait */
  hash(password: string): Promise<string> {
    return this.#run('hash', { text: prehash(opaque(password)), cost: this.options.cost })
  }

  /**
   * A wrong password with spaces other than U+0020 costs two comparisons, whether or not the account exists.
   * @throws GatewayError ERROR_AUTH_FAILED (retry) if too many hashes wait
   */
  async matches(password: string, hash: string): Promise<boolean> {
    // No password of that length was ever accepted, so it is not hashed.
    if (password.length > LENGTHS.password) return false
    const [text, old] = [opaque(password), formerly(password)]
    const isOfOld = hash.startsWith(OF_OLD)
    const bcrypt = isOfOld ? hash.slice(OF_OLD.length) : hash
    const compare = (text: string) => this.#run<boolean>('compare', { text: prehash(text), hash: bcrypt })
    // The old server took a password as it came.
    if (await compare(isOfOld ? oldHash(password) : text)) return true
    return old !== text && compare(isOfOld ? oldHash(text) : old)
  }

  /**
   * What is kept of a password that the old server had hashed: bcrypt of its hash, so that no hash without a salt is
   * stored. `matches` takes it, and the first login replaces it.
   * @param hash as the old server stored it
   * @throws GatewayError ERROR_AUTH_FAILED (retry) if too many hashes wait
   */
  async hashOld(hash: string): Promise<string> {
    return OF_OLD + (await this.#run<string>('hash', { text: prehash(hash), cost: this.options.cost }))
  }

  /**
   * Whether the password should be hashed again: at a lower cost than `cost` asks for today, or by the old server. The
   * text of a hash begins with `$2b$<cost>$`.
   */
  isOutdated(hash: string): boolean {
    return hash.startsWith(OF_OLD) || Number(hash.split('$')[2]) < this.options.cost
  }

  /** Takes as long as `matches` and returns false: for an account that does not exist. */
  async matchesNobody(password: string): Promise<false> {
    await this.matches(password, `$2b$${String(this.options.cost).padStart(2, '0')}$${NO_HASH}`)
    return false
  }

  /** Ends the threads. Waiting hashes are refused. */
  async close(): Promise<void> {
    // Ending a thread while it loads a native module aborts the process (Napi::Error, SIGABRT).
    await Promise.all(this.#threads.threads.map(thread => this.#loaded.get(thread)))
    await this.#threads.destroy()
  }

  /** The first message of a thread tells that it has loaded. */
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
      // The thread may have failed and have been replaced.
      this.#watchNewThreads()
      throw error
    }
  }
}
