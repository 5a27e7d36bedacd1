/** A device with JSON over WebSocket. */
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { within } from '../within.js'
import { Client, type ClientOptions, type Link } from './client.js'
import type { Outgoing } from './outbox.js'

export interface JsonRole {
  readonly front: 'json'
  /** Default: the account's default device. */
  readonly device?: string
  readonly ack?: 'explicit' | 'ping'
  /** A login without options: messages have exactly four fields, and ping and pong confirm them. */
  readonly plain?: boolean
}

interface Frame {
  readonly code?: number
  readonly id?: string
  readonly data?: unknown
  readonly sender?: string
  readonly content?: string
  readonly seq?: number
}

/** Time limit for a login, if the server was not killed. */
const LOGIN_TIMEOUT_MS = 10_000
const CLOSE_TIMEOUT_MS = 3000
const ABANDONED_MS = 5000
const ACK_DELAY_MS = [1, 200] as const

export class JsonClient extends Client {
  constructor(
    options: ClientOptions,
    readonly role: JsonRole,
    /** Called for each answer that is neither success nor a repeat. */
    private readonly onRefused: (code: number) => void,
  ) {
    super(options)
  }

  protected async connect(): Promise<Link> {
    const ws = new WebSocket(`ws://127.0.0.1:${this.ports.http}/`, {
      perMessageDeflate: false,
      handshakeTimeout: LOGIN_TIMEOUT_MS,
    })
    const link = new JsonLink(ws, this, this.onRefused)
    try {
      await within(LOGIN_TIMEOUT_MS, link.login(this.#login()))
      return link
    } catch (error) {
      link.cut()
      throw error
    }
  }

  /** Delay of an explicit confirmation after a message, ms. */
  ackDelay(): number {
    return this.isHurried ? 1 : this.random.between(...ACK_DELAY_MS)
  }

  received({ content = '', seq, id }: Frame): void {
    this.ledger.received(this.device, { content, seq, id })
  }

  #login(): object {
    const { device, ack, plain } = this.role
    const { email } = this.device.account
    const isNew = this.device.fromStart && device !== undefined && this.device.sentBefore === undefined
    return {
      email,
      password: this.password,
      ...(device !== undefined && { device }),
      ...(ack !== undefined && { ack }),
      ...(isNew && { from: 'start' }),
      ...(!plain && { events: ['dropped'] }),
    }
  }
}

class JsonLink implements Link {
  readonly closed: Promise<void>
  #end: () => void = () => undefined
  #isOver = false
  #loggedIn: (() => void) | undefined
  /** Replies come in the order of requests; the id is checked nevertheless. */
  readonly #waiting = new Map<string, Outgoing>()
  #ackTimer: NodeJS.Timeout | undefined
  #lastSeq = 0

  constructor(
    private readonly ws: WebSocket,
    private readonly client: JsonClient,
    private readonly onRefused: (code: number) => void,
  ) {
    this.closed = new Promise(resolve => {
      this.#end = resolve
    })
    client.device.beginDelivery()
    ws.on('message', data => !this.#isOver && this.#take(JSON.parse(data.toString()) as Frame))
    ws.on('ping', payload => this.#pinged(Number(payload.toString())))
    ws.on('close', () => this.#finish())
    ws.on('error', () => this.#finish())
  }

  async login(data: object): Promise<void> {
    const answered = new Promise<void>(resolve => {
      this.#loggedIn = resolve
    })
    await Promise.race([once(this.ws, 'open'), this.closed])
    this.#write({ type: 'action', action: 'login', id: 'login', data })
    await Promise.race([answered, this.closed])
    if (this.#isOver) throw new Error('closed before the login was answered')
  }

  resend(messages: Iterable<Outgoing>): void {
    for (const message of messages) this.send(message)
  }

  send(message: Outgoing): void {
    const { pair, n, content } = message
    const id = `${pair.name}:${n}`
    this.#waiting.set(id, message)
    this.#write({ type: 'message', id, data: { recipient: pair.recipient.userId, content } })
  }

  freeze(): void {
    this.ws.pause()
  }

  thaw(): void {
    this.ws.resume()
  }

  /** Messages that arrive before the server's close frame still count. */
  leave(): void {
    this.ws.resume()
    this.ws.close()
    setTimeout(() => this.cut(), CLOSE_TIMEOUT_MS).unref()
  }

  cut(): void {
    this.#finish()
    this.ws.terminate()
  }

  abandon(): void {
    this.#finish()
    this.ws.pause()
    setTimeout(() => this.ws.terminate(), ABANDONED_MS).unref()
  }

  #finish(): void {
    this.#isOver = true
    clearTimeout(this.#ackTimer)
    this.#end()
  }

  #write(request: object): void {
    if (!this.#isOver) this.ws.send(JSON.stringify(request), () => undefined)
  }

  #take(frame: Frame): void {
    if (typeof frame.sender === 'string') this.#deliver(frame)
    else if (typeof frame.code === 'number') this.#reply(frame.code, frame.id)
  }

  #deliver(frame: Frame): void {
    this.client.received(frame)
    this.#lastSeq = frame.seq ?? this.#lastSeq
    if (this.client.role.ack === 'explicit')
      this.#ackTimer ??= setTimeout(() => this.#ack(), this.client.ackDelay())
  }

  #ack(): void {
    this.#ackTimer = undefined
    this.#write({ type: 'action', action: 'ack', data: { seq: this.#lastSeq } })
    this.client.device.confirmed(this.#lastSeq)
  }

  /** The library sends the pong. The payload names the last message that the server has written. */
  #pinged(seq: number): void {
    if (!this.#isOver && seq > 0) this.client.device.confirmed(seq)
  }

  #reply(code: number, id: string | undefined): void {
    const message = this.#waiting.get(id ?? '')
    if (code === 201 && message !== undefined) {
      this.#waiting.delete(id ?? '')
      this.client.outbox.acknowledged(message)
    } else if (code === 202) this.#loggedIn?.()
    else if (code !== 200) {
      // The message was not acknowledged, so it is resent on another connection, before all later ones.
      this.onRefused(code)
      this.cut()
    }
  }
}
