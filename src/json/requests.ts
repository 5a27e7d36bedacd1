/** The requests of one JSON client: from the text of a message to the reply, in the order in which they came. */
import { CODES, GatewayError, toGatewayError } from '../core/errors.js'
import { handle } from '../handle/index.js'
import { refuse } from '../handle/refuse.js'
import { type Outcome, Replies } from '../handle/replies.js'
import { encodeReply } from '../protocol/replies.js'
import { parseRequest, RefusedRequest, type Request } from '../protocol/requests.js'
import { Encryption, type Packet, readFrame } from './encryption.js'
import type { FrameWriter } from './frame-writer.js'
import { Hold } from './hold.js'
import type { Asker, ConnectionHost } from './host.js'
import type { Quota, RateLimit } from './quota.js'
import { RequestQueue, type Runner } from './request-queue.js'

/** Open requests of a client that is not logged in, where `maxPipelined` allows more. */
const MAX_OPEN_BEFORE_LOGIN = 100

const TRACED: ReadonlySet<string> = new Set(['message', 'broadcast'])

/** One function for the replies of all connections. */
const reply = (outcome: Outcome, to: Requests): void => to.reply(outcome)

export class Requests implements Runner {
  readonly #replies = new Replies<Requests>(reply, this)
  readonly #queue = new RequestQueue(this)
  /** While the client's address is ahead of the requests that it may make before login; made when it first is. */
  #delay: Hold | undefined
  #isStopped = false
  /** Of a client that is not logged in: it may begin one request. */
  #hasTurn = false
  #waitsForTurn = false
  /** Made at the first encrypted packet. */
  #encryption: Encryption | undefined

  constructor(
    private readonly host: ConnectionHost,
    private readonly asker: Asker,
    private readonly out: FrameWriter,
    private readonly quota: Quota,
  ) {}

  /** Requests that have begun and whose reply has not left. */
  get pending(): number {
    return this.#replies.pending
  }

  /** Requests that were read and whose reply has not left. */
  get open(): number {
    return this.#replies.pending + this.#queue.length
  }

  /** At so many open requests the client is read no further. */
  get maxOpen(): number {
    const { maxPipelined } = this.host.rules
    return this.asker.userId === undefined ? Math.min(maxPipelined, MAX_OPEN_BEFORE_LOGIN) : maxPipelined
  }

  /** Of requests that have not begun. */
  get waitingBytes(): number {
    return this.#queue.bytes
  }

  /** @param text undefined for a binary message @param bytes length of the text as UTF-8 */
  push(text: string | undefined, bytes: number): void {
    this.#queue.push(text, bytes)
  }

  resume(): void {
    this.#queue.resume()
  }

  /** What was delayed before login is not done for a client that has gone. */
  clientLeft(): void {
    if (this.#isDelayed && this.asker.userId === undefined) this.#queue.clear()
  }

  /** Nothing more is begun, unless the client left by itself: then what it sent before is. */
  stop(): void {
    this.#isStopped = true
    this.#delay?.clear()
    if (!this.asker.hasLeft) this.#queue.clear()
  }

  get #isDelayed(): boolean {
    return this.#delay?.isOn === true
  }

  /** For the queue. */
  get mayBegin(): boolean {
    return (
      this.asker.hasLeft || (!this.out.isFull && !this.#isStopped && !this.#isDelayed && this.#takesTurn())
    )
  }

  #takesTurn(): boolean {
    if (this.asker.userId !== undefined || this.#hasTurn) return true
    if (this.#waitsForTurn) return false
    const { entrance } = this.host.services.limits
    this.#hasTurn = entrance.passes()
    if (this.#hasTurn) return true
    this.#waitsForTurn = true
    entrance.add(this)
    return false
  }

  /** Its turn has come. */
  run(): void {
    this.#waitsForTurn = false
    this.#hasTurn = true
    this.#queue.resume()
    this.#hasTurn = false
  }

  /** For the queue. */
  begin(text: string | undefined, bytes: number): Promise<void> | undefined {
    const since = this.#tracing === undefined ? 0 : performance.now()
    this.#hasTurn = false
    const limit = this.quota.take(bytes)
    if (this.asker.userId === undefined) this.#payBeforeLogin()
    try {
      const frame = this.#parse(text)
      if (frame.name === 'encrypted') return this.#beginSealed(frame, limit, since)
      return this.#ask(this.#admitPlain(frame), limit, since)
    } catch (thrown) {
      this.#refuse(this.#isOutOfPlace(thrown) ? new GatewayError('ENCRYPTION_FAILED', null, thrown) : thrown)
      return undefined
    }
  }

  /**
   * Whether what came is no packet, where nothing else may come: an answer to it, from whoever it came, would be taken for
   * that to a request of the client.
   */
  #isOutOfPlace(thrown: unknown): boolean {
    return this.#encryption?.hasBegun === true && toGatewayError(thrown).kind !== 'SHUTDOWN'
  }

  /** @param since performance.now(), if it is traced @throws RefusedRequest */
  #ask(request: Request, limit: RateLimit | undefined, since: number): Promise<void> | undefined {
    const refusal = this.quota.refusal(limit, request.name)
    if (refusal !== undefined) throw new RefusedRequest(refusal, request.id)
    const answer = this.#replies.reserve(request.name, request.id)
    if (this.#tracing !== undefined && TRACED.has(request.name))
      answer.trace = this.#tracing.begin(request.name, 'json', since)
    return handle(this.host.services, this.asker, request, answer)
  }

  /** @throws RefusedRequest ENCRYPTION_REQUIRED */
  #admitPlain(request: Request): Request {
    if (this.#encryption?.hasBegun === true || this.host.rules.encryption === 'require')
      throw new RefusedRequest(new GatewayError('ENCRYPTION_REQUIRED'), request.id)
    return request
  }

  /** The same for the request in a packet. Does not reject. */
  async #beginSealed(packet: Packet, limit: RateLimit | undefined, since: number): Promise<void> {
    try {
      const text = await this.#open(packet)
      // The connection has ended meanwhile.
      if (text === undefined || (this.#isStopped && !this.asker.hasLeft)) return
      await this.#ask(parseRequest(text, this.host.services.rules), limit, since)
    } catch (thrown) {
      this.#refuse(thrown)
    }
  }

  async #open(packet: Packet): Promise<string | undefined> {
    const isSetUp = packet.data.enc !== undefined
    // Who was let in without encryption, or by somebody in between, gets no more by it.
    if (isSetUp && (this.asker.userId !== undefined || this.pending > 0))
      throw new GatewayError('ENCRYPTION_FAILED')
    this.#encryption ??= new Encryption(this.host.key, this.out)
    const text = await this.#encryption.open(packet)
    if (isSetUp) this.host.metrics.answered('json', 'encrypted', CODES.SUCCESS.code)
    return text
  }

  get #tracing() {
    return this.host.services.inbox.tracing
  }

  #payBeforeLogin(): void {
    const waitMs = this.quota.beforeLogin()
    // Requests that a client left behind ahead of its rate are dropped: they are not worth a timer.
    if (waitMs > 0 && this.asker.hasLeft) this.#queue.clear()
    else if (waitMs > 0) {
      this.#delay ??= new Hold(() => this.asker.goOn(), this.asker)
      this.#delay.extend(waitMs)
    }
  }

  /** @throws GatewayError, RefusedRequest */
  #parse(text: string | undefined): Request | Packet {
    const { isOpen, rules, services } = this.host
    if (!isOpen) throw new GatewayError('SHUTDOWN')
    if (text === undefined)
      throw new GatewayError('BAD_JSON', { reason: 'binary frame; requests are text frames' })
    if (this.asker.userId === undefined && text.length > rules.maxMessageBeforeLogin) {
      services.limits.count('limits.frameBeforeLogin')
      throw new GatewayError('TOO_LARGE', { field: 'frame', reason: 'login first' })
    }
    return readFrame(text, rules.encryption, services.rules)
  }

  #refuse(thrown: unknown): void {
    if (toGatewayError(thrown).kind === 'ENCRYPTION_FAILED') {
      this.#fail(thrown)
      return
    }
    const id = thrown instanceof RefusedRequest ? thrown.id : undefined
    const answer = this.#replies.reserve('invalid', id)
    refuse(this.host.services.log, { request: 'invalid', caller: this.asker, answer }, thrown)
  }

  /** Nothing that comes behind it can be trusted. */
  #fail(thrown: unknown): void {
    const { userId, remoteAddress } = this.asker
    const about = { event: 'encryption.failed', userId, remoteAddress, err: toGatewayError(thrown).cause }
    this.host.services.log.info(about, 'encrypted packets ended')
    this.asker.end('ENCRYPTION_FAILED')
  }

  /** The turn of a reply has come. */
  reply(outcome: Outcome): void {
    try {
      this.#write(outcome)
    } catch (thrown) {
      this.asker.fault('ws.reply', thrown)
    }
  }

  #write({ request, id, code, data, trace }: Outcome): void {
    trace?.ended(code)
    this.host.metrics.answered('json', request, CODES[code].code)
    const text = encodeReply(code, this.asker.locale, data, id)
    if (data === null && id === undefined) this.out.writeFixed(text)
    else this.out.write(text)
    this.asker.replied(this.quota.answered(code))
  }
}
