/** The login of the chat, kept through broken connections. */
import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import type { Arrival, ChatRequest, Reply } from './link.js'
import { Link, type LinkEvents, LinkLost, Unfit } from './link.js'
import { type Credentials, inWords, LOGGED_IN, logIn } from './login.js'
import { mayRetry, printable, refusal } from './words.js'

export interface SessionEvents {
  /** @param missedBefore what was sent before this time came while the user was away, ms since 1970 */
  onMessage(message: Arrival, missedBefore: number): Promise<void>
  /** Something about the connection that the user should know. */
  onNotice(text: string): void
}

export interface SessionOptions {
  readonly url: URL
  readonly credentials: Credentials
  readonly events: SessionEvents
  /** The first and the longest wait before the next attempt to connect, ms. */
  readonly retryMs?: readonly [number, number]
}

/** Messages are confirmed together, so that many of them do not use up the rate of requests. */
const CONFIRM_MS = 100

/** From here to 4999 a close code says: do not come back. */
const STAY_AWAY = 4500

export class Session {
  readonly #options: SessionOptions
  readonly #retryMs: readonly [number, number]
  #link: Link | undefined
  #userId = ''
  #isOver = false
  /** Whether the user knows that there is no connection. */
  #isTold = false
  /** Resolves with the next link, or undefined when the session is over. */
  #next = new Pending()
  readonly #over = new AbortController()
  #seen = 0
  #shown = 0
  #confirmed = 0
  #confirming: NodeJS.Timeout | undefined
  #showing: Promise<void> = Promise.resolve()

  constructor(options: SessionOptions) {
    this.#options = options
    this.#retryMs = options.retryMs ?? [1000, 30_000]
  }

  /** Empty before the first login. */
  get userId(): string {
    return this.#userId
  }

  /** @returns the user's id, when the login is done @throws LinkLost if it never is */
  async userIdOnceIn(): Promise<string> {
    if (this.#link === undefined && (await this.#next.promise) === undefined) throw new LinkLost()
    return this.#userId
  }

  /** Stays logged in. @returns true at `close`, false when the server does not want this user any more */
  async run(): Promise<boolean> {
    let delay = this.#retryMs[0]
    for (;;) {
      const outcome = await this.#visit()
      if (this.#isOver) return true
      if (outcome === 'refused') {
        this.#end()
        return false
      }
      if (outcome === 'was in') delay = this.#retryMs[0]
      // Many clients that lost the same server do not come back in the same moment.
      await wait(delay * (0.5 + Math.random() / 2), undefined, { signal: this.#over.signal }).catch(
        () => undefined,
      )
      delay = Math.min(delay * 2, this.#retryMs[1])
      if (this.#isOver) return true
    }
  }

  /** Waits for a connection, and asks again if that breaks before the reply: the server does it once. */
  async ask(request: ChatRequest): Promise<Reply> {
    const id = randomUUID()
    for (;;) {
      const link = this.#link ?? (await this.#next.promise)
      if (link === undefined) throw new LinkLost()
      try {
        return await link.ask(request, id)
      } catch (error) {
        if (!(error instanceof LinkLost) || this.#isOver) throw error
        await link.ended
      }
    }
  }

  /** Confirms what was shown, and leaves. */
  async close(): Promise<void> {
    if (this.#isOver) return
    await this.#confirm()
    this.#end()
    this.#link?.close()
  }

  /** One connection, from its start to its end. */
  async #visit(): Promise<'refused' | 'was in' | 'never in'> {
    const { url, events } = this.#options
    const missedBefore = Date.now()
    const opened = await Link.open(url, this.#listener(missedBefore)).catch(this.#failed)
    if (opened === undefined) return 'never in'
    const login = await this.#logIn(opened)
    if (typeof login === 'string') {
      opened.close()
      return login
    }
    this.#enter(opened, login.id)
    const { code, farewell } = await opened.ended
    this.#leave()
    if (this.#isOver) return 'was in'
    const why = farewell === undefined ? '' : ` (${printable(farewell)})`
    const isFinal = code >= STAY_AWAY && code < 5000
    this.#isTold = true
    events.onNotice(`connection lost${why}${isFinal ? '' : '; trying again'}`)
    return isFinal ? 'refused' : 'was in'
  }

  async #logIn(link: Link): Promise<{ readonly id: string } | 'refused' | 'never in'> {
    const { credentials, events } = this.#options
    const reply = await logIn(link, credentials).catch(this.#failed)
    if (reply === undefined) return 'never in'
    const { id }: { id?: unknown } = Object(reply.data)
    if (reply.code === LOGGED_IN && typeof id === 'string') return { id }
    if (mayRetry(reply)) {
      this.#failed(new Error(refusal(reply)))
      return 'never in'
    }
    const why = reply.code === LOGGED_IN ? new Unfit('login').message : inWords(reply, credentials.email)
    events.onNotice(why)
    return 'refused'
  }

  /** Says it once until the next login. */
  readonly #failed = (error: Error): undefined => {
    if (this.#isTold || this.#isOver) return
    this.#isTold = true
    this.#options.events.onNotice(`no connection (${printable(error.message)}); trying again`)
  }

  #enter(link: Link, userId: string): void {
    const isBack = userId === this.#userId
    // Another inbox counts from 1 again.
    if (!isBack) this.#seen = this.#shown = 0
    this.#confirmed = 0
    if (isBack) this.#options.events.onNotice('connected again')
    this.#userId = userId
    this.#isTold = false
    this.#link = link
    this.#next.resolve(link)
    if (this.#isOver) link.close()
  }

  #leave(): void {
    this.#link = undefined
    // Who waits for the next link of a session that is over waits for nothing.
    if (!this.#isOver) this.#next = new Pending()
  }

  #end(): void {
    this.#isOver = true
    this.#over.abort()
    clearTimeout(this.#confirming)
    this.#next.resolve(undefined)
  }

  #listener(missedBefore: number): LinkEvents {
    return {
      onMessage: message => this.#take(message, missedBefore),
      onDropped: (from, to) => {
        const text = `messages ${from} to ${to} were removed before you could read them: the inbox was full`
        this.#options.events.onNotice(text)
      },
    }
  }

  /** Shows it behind those before it. What was not confirmed comes again on the next connection. */
  #take(message: Arrival, missedBefore: number): void {
    const { seq } = message
    if (seq <= this.#seen) return
    this.#seen = seq
    this.#showing = this.#showing
      .then(() => this.#options.events.onMessage(message, missedBefore))
      .then(() => {
        this.#shown = seq
        this.#confirming ??= setTimeout(() => void this.#confirm(), CONFIRM_MS)
      })
      // The session is over, and the message comes at the next login.
      .catch(() => undefined)
  }

  async #confirm(): Promise<void> {
    this.#confirming = undefined
    const seq = this.#shown
    if (!(seq > this.#confirmed) || this.#link === undefined) return
    const request = { type: 'action', action: 'ack', data: { seq } } as const
    await this.#link.ask(request).then(
      () => (this.#confirmed = seq),
      () => undefined,
    )
  }
}

/** The next link, for who waits for it. */
class Pending {
  resolve: (link: Link | undefined) => void = () => undefined
  readonly promise = new Promise<Link | undefined>(resolve => {
    this.resolve = resolve
  })
}
