/**
 * Letters on their way, in the store until the mail server has them: one that is down delays them and holds up nobody. A letter
 * may be sent twice, where the process dies in between, or the server's answer is lost.
 */

import { randomBytes } from 'node:crypto'
import type { ProofKind } from '../auth/proofs.js'
import { digest } from '../auth/secrets.js'
import type { Logger } from '../core/log.js'
import type { Metrics } from '../core/metrics.js'
import type { UserId } from '../core/model.js'
import { decodeRecord, encodeRecord } from '../core/record.js'
import { Deadlines } from '../flow/deadlines.js'
import type { KeyValue, KvKey, KvWrite } from '../store/store.js'
import { type Letter, type Message, PROOF_OF } from './letter.js'
import { MailError, type Transport } from './transport.js'

export interface OutboxOptions {
  /** How long a letter is tried again before it is given up, ms. */
  readonly retryForMs: number
  /** Most letters that wait; further ones are dropped. */
  readonly maxWaiting: number
}

export interface OutboxParts {
  readonly kv: KeyValue
  readonly transport: Transport
  /**
   * Writes a letter. @param isWanted false as soon as it was taken back @returns undefined if there is nothing to say any
   * more: the account is gone
   */
  readonly write: (letter: Letter, isWanted: () => boolean) => Promise<Message | undefined>
  readonly metrics: Pick<Metrics, 'mails' | 'mailsWaiting'>
  readonly log: Logger
}

interface Waiting extends Letter {
  /** The last part of its key. */
  readonly id: string
  /** ms since the epoch. */
  readonly putAt: number
  readonly tries: number
  readonly dueAt: number
}

/** Letters sent at the same time. */
const AT_ONCE = 4
/** The wait after the first failure; each further one doubles it, ms. */
const FIRST_WAIT_MS = 30_000
const MAX_WAIT_MS = 3_600_000

export class Outbox {
  /** By name: one of a kind for an account. */
  readonly #waiting = new Map<string, Waiting>()
  readonly #due = new Set<string>()
  readonly #deadlines = new Deadlines(name => this.#isDue(name))
  readonly #sending = new Map<string, Promise<void>>()
  /** Of a store that no gateway serves, letters are only put. */
  #isStarted = false

  constructor(
    private readonly parts: OutboxParts,
    private readonly options: OutboxOptions,
  ) {}

  /** Sends from now on, first what waited when the process ended. */
  async start(): Promise<void> {
    for await (const { value } of this.parts.kv.kvRange('meta', ['mail'])) {
      const letter = decode(value)
      this.#waiting.set(nameOf(letter), letter)
    }
    this.#isStarted = true
    for (const name of this.#waiting.keys()) this.#schedule(name)
  }

  /**
   * Resolves when the letter is stored. One of the same kind for the same account takes its place, so that whoever asks
   * again and again while the mail server is down causes one letter; each `email-changed` stands for itself, and news to one
   * address take the place of no news to another.
   * @param delayMs it is sent so much later; one that waits in its place keeps its earlier time
   * @throws GatewayError STORE_UNAVAILABLE, STORE_FULL
   */
  async put(letter: Letter, delayMs = 0): Promise<void> {
    const { metrics, log } = this.parts
    const { kind, userId } = letter
    const id = idOf(letter)
    const now = Date.now()
    const name = nameOf({ kind, userId, id })
    const before = this.#waiting.get(name)
    const later = now + delayMs
    const isReplaced = before !== undefined && !this.#sending.has(name)
    const dueAt = isReplaced ? Math.min(before.dueAt, later) : later
    const waiting = { ...letter, id, putAt: later, tries: 0, dueAt: delayMs > 0 ? dueAt : now }
    if (before === undefined && this.#waiting.size >= this.options.maxWaiting) {
      metrics.mails.inc({ outcome: 'dropped' })
      log.error({ event: 'mail.dropped', kind, userId }, 'letter dropped: mail.maxWaiting letters wait')
      return
    }
    // Now, so that the end of one that is being sent does not remove this one's row.
    this.#set(waiting)
    await this.#store(waiting).catch(thrown => {
      if (before === undefined) this.#forget(waiting)
      else if (this.#isCurrent(waiting)) this.#set(before)
      throw thrown
    })
    this.#schedule(name)
  }

  /** Letters that would make such proofs are sent no more. Resolves when the store does not have them either. */
  async takeBack(userId: UserId, kinds: readonly ProofKind[]): Promise<void> {
    const isMeant = (letter: Letter) => {
      const kind = PROOF_OF[letter.kind]
      return letter.userId === userId && kind !== undefined && kinds.includes(kind)
    }
    const letters = [...this.#waiting.values()].filter(isMeant)
    for (const letter of letters) this.#forget(letter)
    // Also of a store that no gateway serves, whose letters nobody has read.
    const writes: KvWrite[] = letters.map(letter => ({ remove: 'meta', key: keyOf(letter) }))
    if (!this.#isStarted)
      for await (const { key, value } of this.parts.kv.kvRange('meta', ['mail', userId]))
        if (isMeant(decode(value))) writes.push({ remove: 'meta', key })
    if (writes.length > 0) await this.parts.kv.kvWrite(writes)
  }

  /** Sends no more. Resolves when what is being sent is sent, or has failed; it is in the store then. */
  async close(): Promise<void> {
    this.#isStarted = false
    this.#deadlines.close()
    this.parts.transport.close()
    await Promise.all(this.#sending.values())
  }

  #schedule(name: string): void {
    const letter = this.#waiting.get(name)
    if (!this.#isStarted || letter === undefined || this.#sending.has(name)) return
    if (letter.dueAt <= Date.now()) this.#isDue(name)
    else this.#deadlines.set(name, letter.dueAt)
  }

  #isDue(name: string): void {
    this.#deadlines.delete(name)
    this.#due.add(name)
    this.#pump()
  }

  #pump(): void {
    for (const name of this.#due) {
      if (!this.#isStarted || this.#sending.size >= AT_ONCE) return
      this.#due.delete(name)
      const letter = this.#waiting.get(name)
      if (letter === undefined || this.#sending.has(name)) continue
      const sent = this.#send(letter).finally(() => this.#sent(name))
      this.#sending.set(name, sent)
    }
  }

  /** What failed, or was put meanwhile, waits again. */
  #sent(name: string): void {
    this.#sending.delete(name)
    this.#schedule(name)
    this.#pump()
  }

  /** Never rejects. */
  async #send(letter: Waiting): Promise<void> {
    const { log, metrics, transport, write } = this.parts
    const { kind, userId } = letter
    try {
      const message = await write(letter, () => this.#isCurrent(letter))
      const file = message && (await transport.send(message))
      await this.#done(letter)
      if (message === undefined) return
      metrics.mails.inc({ outcome: 'sent' })
      const about = { event: 'mail.sent', kind, userId, ...(file !== undefined && { file }) }
      log.info(about, file === undefined ? 'letter sent' : 'letter written to a file: mail.url is not set')
    } catch (thrown) {
      await this.#failed(letter, thrown).catch(err =>
        log.error({ event: 'mail.failed', kind, userId, err }, 'the store did not take how a letter fared'),
      )
    }
  }

  async #failed(letter: Waiting, thrown: unknown): Promise<void> {
    const { log, metrics } = this.parts
    const { kind, userId, tries, putAt } = letter
    const isFinal = thrown instanceof MailError && thrown.isFinal
    const about = { kind, userId, tries: tries + 1, ...reasonOf(thrown) }
    const waitMs = Math.min(FIRST_WAIT_MS * 2 ** tries, MAX_WAIT_MS)
    const dueAt = Date.now() + waitMs
    if (isFinal || dueAt > putAt + this.options.retryForMs) {
      metrics.mails.inc({ outcome: isFinal ? 'refused' : 'given-up' })
      const event = isFinal ? 'mail.refused' : 'mail.given-up'
      log.error({ event, ...about }, 'letter not sent, and not tried again')
      return this.#done(letter)
    }
    metrics.mails.inc({ outcome: 'delayed' })
    log.warn({ event: 'mail.delayed', ...about, waitMs }, 'letter not sent, to be tried again')
    if (!this.#isCurrent(letter)) return
    const later = { ...letter, tries: tries + 1, dueAt }
    this.#set(later)
    await this.#store(later)
  }

  /** Nothing more is to be done for it; one that took its place stays. */
  async #done(letter: Waiting): Promise<void> {
    if (!this.#isCurrent(letter)) return
    this.#forget(letter)
    await this.parts.kv.kvWrite([{ remove: 'meta', key: keyOf(letter) }])
  }

  #isCurrent(letter: Waiting): boolean {
    return this.#waiting.get(nameOf(letter)) === letter
  }

  #set(letter: Waiting): void {
    this.#waiting.set(nameOf(letter), letter)
    this.parts.metrics.mailsWaiting.set(this.#waiting.size)
  }

  #forget(letter: Waiting): void {
    if (this.#isCurrent(letter)) this.#waiting.delete(nameOf(letter))
    this.parts.metrics.mailsWaiting.set(this.#waiting.size)
  }

  #store(letter: Waiting): Promise<void> {
    const value = encodeRecord(letter)
    const write: KvWrite = { put: 'meta', key: keyOf(letter), value }
    return this.parts.kv.kvWrite([write])
  }
}

function idOf({ kind, to }: Letter): string {
  if (kind === 'email-changed') return randomBytes(9).toString('base64url')
  return to === undefined || PROOF_OF[kind] !== undefined ? '' : digest(to)
}

const keyOf = ({ userId, kind, id }: Waiting): KvKey => ['mail', userId, kind, id]

const nameOf = ({ userId, kind, id }: Pick<Waiting, 'userId' | 'kind' | 'id'>): string =>
  `${userId} ${kind} ${id}`

const decode = decodeRecord<Waiting>

/** For the log: of an error of the mail server only its code, since its text may hold the address. */
const reasonOf = (thrown: unknown) => (thrown instanceof MailError ? { code: thrown.code } : { err: thrown })
