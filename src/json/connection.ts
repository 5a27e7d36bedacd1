/** One JSON client: frame in → request → handler; replies and messages out, in order and in groups. */
import type { Socket } from 'node:net'
import type { RawData } from 'ws'
import type { Principal } from '../auth/authenticate.js'
import type { LoginPermissions } from '../auth/permissions.js'
import { CODES, type CodeName, GatewayError, type Locale, toGatewayError } from '../core/errors.js'
import { guarded, type OnFault } from '../core/faults.js'
import type { Metrics } from '../core/metrics.js'
import type { Login, UserId } from '../core/model.js'
import type { TurnEnd } from '../flow/turn-end.js'
import type { Caller, LoginTarget, Services } from '../handle/context.js'
import { handle, refuse } from '../handle/index.js'
import { type Outcome, Replies } from '../handle/replies.js'
import type { InboxReader, ReaderOptions } from '../inbox/reader.js'
import type { ControlFrames } from '../limits/control-frames.js'
import type { Guest } from '../limits/crowd.js'
import type { LiveConnection } from '../live/live.js'
import { Ponger } from '../net/pong.js'
import type { PausableWebSocket } from '../net/websocket.js'
import { encodeReply } from '../protocol/replies.js'
import { parseRequest, RefusedRequest, type RequestData } from '../protocol/requests.js'
import { FrameWriter } from './frame-writer.js'
import { Hold } from './hold.js'
import { InboxDelivery, type Writer } from './inbox-delivery.js'
import { Liveness, type LivenessRules } from './liveness.js'
import { Quota, type QuotaRules } from './quota.js'
import { type Frame, RequestQueue } from './request-queue.js'

export interface ConnectionRules extends LivenessRules, QuotaRules {
  /** Requests waiting for their answer; beyond it the socket is read no further until half are answered. */
  readonly maxPipelined: number
  /** Bytes that the client has not taken, after which nothing is delivered or read until it takes them. */
  readonly maxBufferedBytes: number
  /** Longest frame of a client that is not logged in, UTF-16 units. */
  readonly maxFrameBeforeLogin: number
}

/** Frames of a client that go on after we closed: so many are passed over, then it is cut off. */
const MAX_BEHIND_CLOSE = { known: 1000, stranger: 100 }

/** Requests of a client that is not logged in that wait for their answers; then it is read no further. */
const MAX_PIPELINED_BEFORE_LOGIN = 100

/** What a connection needs from the server that took it. */
export interface ConnectionHost {
  readonly services: Services
  readonly rules: ConnectionRules
  readonly metrics: Metrics
  readonly turnEnd: TurnEnd
  readonly onFault: OnFault
  /** False while the server is closing: requests are then refused. */
  readonly isOpen: boolean
  openReader(options: Pick<ReaderOptions, 'userId' | 'device' | 'sink' | 'from'>): InboxReader
  closed(connection: JsonConnection): void
}

/** What ws says where there was none (RFC 6455, 7.1.5). */
const NO_CLOSE_FRAME = 1006

export class JsonConnection implements Caller, LoginTarget, LiveConnection, Writer {
  readonly front = 'json'
  readonly target = this
  userId: UserId | undefined
  readonly locale: Locale
  login: Login | undefined
  permissions: LoginPermissions | undefined
  /** Stays readable when the socket is gone. */
  readonly remoteAddress: string | undefined
  /** Resolves when the socket is closed. */
  readonly gone: Promise<void>
  readonly #liveness: Liveness
  readonly #out: FrameWriter
  readonly #replies = new Replies(this.#guarded('ws.reply', outcome => this.#reply(outcome)))
  readonly #requests = new RequestQueue(
    frame => this.#begin(frame),
    () => this.hasLeft || (!this.#isFull && !this.#ended && !this.#delay.isOn),
  )
  readonly #openedAt = performance.now()
  /** While its address is ahead of what it may ask before login. */
  readonly #delay = new Hold(this.#guarded('ws.hold', () => this.#goOn()))
  /** While it is ahead of the pings and pongs that it may send. */
  readonly #hold = new Hold(this.#guarded('ws.hold', () => this.#throttle()))
  readonly #control: ControlFrames
  readonly #guest: Guest
  #behindClose = 0
  #paused = false
  #ended = false
  /** The client went by itself: what it sent before is still done, as far as it was read and does more than read. */
  hasLeft = false
  readonly #quota: Quota
  #logins = 0
  /** Why the connection ends, until that is said. */
  #farewell: CodeName | undefined
  #inbox: InboxDelivery | undefined

  constructor(
    private readonly host: ConnectionHost,
    private readonly ws: PausableWebSocket,
    private readonly socket: Socket,
    client: { readonly locale: Locale; readonly address: string | undefined },
  ) {
    this.locale = client.locale
    this.remoteAddress = client.address
    const { limits } = host.services
    this.#quota = new Quota(limits, host.rules, client.address)
    this.#control = limits.controlFrames()
    this.#guest = limits.join(() => this.end('LOGIN_TIMEOUT'))
    this.#liveness = new Liveness(ws, socket, host.rules, () => this.#control.pinged())
    this.#out = new FrameWriter(ws, socket, host.turnEnd, {
      pingPayload: () => {
        const payload = this.#inbox?.pingPayload()
        if (payload !== undefined) this.#control.pinged()
        return payload
      },
      written: () => this.#goOn(),
      failed: thrown => this.#failed('ws.turn-end', thrown),
    })
    const receive = (data: RawData, isBinary: boolean) => this.#receive(data as Buffer, isBinary)
    const ponger = new Ponger(ws, host.turnEnd)
    const pinged = (payload: Buffer) => {
      if (this.#sawControlFrame('ping')) ponger.pinged(payload)
    }
    const ponged = (payload: Buffer) => {
      if (this.#sawControlFrame('pong')) this.#inbox?.pong(payload)
    }
    ws.on('message', this.#guarded('ws.message', receive))
    ws.on('ping', this.#guarded('ws.ping', pinged)).on('pong', this.#guarded('ws.pong', ponged))
    this.gone = new Promise(resolve => socket.once('close', () => resolve()))
    ws.on(
      'close',
      this.#guarded('ws.close', (code: number) => this.#clientLeft(code)),
    )
    // ws answers protocol faults itself (1002, 1007, 1009) and then closes.
    ws.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') host.services.limits.count('limits.frame')
      host.services.log.info({ event: 'socket.failed', front: 'json', code }, 'socket failed')
    })
    socket.on(
      'drain',
      this.#guarded('ws.drain', () => this.#drained()),
    )
  }

  // ── in ──────────────────────────────────────────────────────────────────────────────────────────────────

  #receive(data: Buffer, isBinary: boolean): void {
    if (this.#ended) {
      this.#passOver()
      return
    }
    this.#liveness.seen()
    this.#requests.push(isBinary ? undefined : data.toString())
    this.#throttle()
  }

  /** @returns false where the connection is over */
  #sawControlFrame(kind: 'ping' | 'pong'): boolean {
    if (this.#ended) {
      this.#passOver()
      return false
    }
    this.#liveness.seen()
    this.#hold.extend(this.#control.take(kind))
    if (this.#hold.isOn) this.#throttle()
    return true
  }

  /** The client has its half of the closing handshake to send and nothing else. */
  #passOver(): void {
    const max = this.userId === undefined ? MAX_BEHIND_CLOSE.stranger : MAX_BEHIND_CLOSE.known
    if (++this.#behindClose > max) this.ws.terminate()
  }

  #payBeforeLogin(): void {
    const waitMs = this.#quota.beforeLogin()
    // Nobody waits for what one who is gone sent ahead of its rate.
    if (waitMs > 0 && this.hasLeft) this.#requests.clear()
    else this.#delay.extend(waitMs)
  }

  #begin(frame: Frame): Promise<void> | undefined {
    let request: ReturnType<typeof parseRequest>
    const limit = this.#quota.take(frame === undefined ? 0 : Buffer.byteLength(frame))
    if (this.userId === undefined) this.#payBeforeLogin()
    try {
      if (!this.host.isOpen) throw new GatewayError('SHUTDOWN')
      if (frame === undefined)
        throw new GatewayError('BAD_JSON', { reason: 'binary frame; requests are text frames' })
      if (this.userId === undefined && frame.length > this.host.rules.maxFrameBeforeLogin) {
        this.host.services.limits.count('limits.frameBeforeLogin')
        throw new GatewayError('TOO_LARGE', { field: 'frame', reason: 'login first' })
      }
      request = parseRequest(frame, this.host.services.rules)
      const refusal = this.#quota.refusal(limit, request.name)
      if (refusal !== undefined) throw new RefusedRequest(refusal, request.id)
    } catch (thrown) {
      const answer = this.#replies.reserve(
        'invalid',
        thrown instanceof RefusedRequest ? thrown.id : undefined,
      )
      refuse(this.host.services.log, { request: 'invalid', caller: this, answer }, thrown)
      return undefined
    }
    return handle(this.host.services, this, request, this.#replies.reserve(request.name, request.id))
  }

  get #maxPipelined(): number {
    const { maxPipelined } = this.host.rules
    return this.userId === undefined ? Math.min(maxPipelined, MAX_PIPELINED_BEFORE_LOGIN) : maxPipelined
  }

  /** Stops reading from a client that sends faster than it is answered or takes its answers. */
  #throttle(): void {
    if (this.#ended) return
    const { maxBufferedBytes } = this.host.rules
    const maxPipelined = this.#maxPipelined
    const open = this.#replies.pending + this.#requests.length
    const isFull = this.#isFull || this.#requests.size > maxBufferedBytes
    if (!this.#paused && (open >= maxPipelined || isFull || this.#hold.isOn)) {
      this.#paused = true
      this.ws.pause()
    } else if (this.#paused && open <= maxPipelined / 2 && !isFull && !this.#hold.isOn) {
      this.#paused = false
      this.ws.resume()
    }
  }

  // ── out ─────────────────────────────────────────────────────────────────────────────────────────────────

  #reply({ request, id, code, data }: Outcome): void {
    this.host.metrics.answered('json', request, CODES[code].code)
    const text = encodeReply(code, this.locale, data, id)
    if (data === null && id === undefined) this.#out.writeFixed(text)
    else this.write(text)
    if (this.#paused) this.#throttle()
    const reason = this.#quota.answered(code)
    if (reason !== undefined) this.end(reason)
    this.#sayFarewell()
  }

  /** One text frame; leaves with the others of this turn. */
  write(frame: string): void {
    this.#out.write(frame)
  }

  wake(): void {
    this.#out.wake()
  }

  #drained(): void {
    this.#liveness.seen()
    this.#goOn()
  }

  /** There may be room again for what waited for it. */
  #goOn(): void {
    if (this.#isFull) return
    this.#inbox?.reader.resume()
    this.#requests.resume()
    this.#throttle()
  }

  get canTake(): boolean {
    return !this.#isFull && this.#out.isOpen
  }

  /** Never below the socket's own mark, from which on it says when it is empty again ('drain'). */
  get #isFull(): boolean {
    return this.#out.waiting > Math.max(this.host.rules.maxBufferedBytes, this.socket.writableHighWaterMark)
  }

  // ── Caller ──────────────────────────────────────────────────────────────────────────────────────────────

  async enter({ user, login }: Principal, options: RequestData<'login'>): Promise<void> {
    await this.host.services.live.join(user.id, this)
    const userId = user.id
    try {
      if (this.#ended) throw new GatewayError('ERROR_CONNECTION_CLOSED')
      this.#quota.enter(userId)
    } catch (thrown) {
      this.#release(userId)
      throw thrown
    }
    this.userId = userId
    this.ws.isTrusted = true
    this.login = login
    this.permissions = this.host.services.authenticator.permissions(userId)
    this.permissions.joined()
    this.#guest.entered()
    this.host.services.limits.loggedInFrom(this.remoteAddress)
    const inbox = new InboxDelivery(this, { ...options, nth: this.#logins++ }, part =>
      this.host.openReader({ userId, ...part }),
    )
    try {
      await inbox.reader.enrol()
      if (this.#ended) throw new GatewayError('ERROR_CONNECTION_CLOSED')
    } catch (thrown) {
      this.leave()
      throw thrown
    }
    this.#inbox = inbox
  }

  leave(): void {
    if (this.userId === undefined) return
    this.#inbox?.reader.close()
    this.#inbox = undefined
    this.#release(this.userId)
    this.permissions?.left()
    this.#guest.loggedOut()
    this.userId = undefined
    this.ws.isTrusted = false
    this.login = undefined
    this.permissions = undefined
  }

  startDelivery(): void {
    this.#inbox?.reader.start().catch(thrown => {
      // Nothing can be delivered: the client must come back, and finds everything where it was.
      const err = toGatewayError(thrown)
      const about = { event: 'store.failed', operation: 'startSession', userId: this.userId, err }
      this.host.services.log.error(about, 'inbox not opened')
      this.end('STORE_UNAVAILABLE')
    })
  }

  get isGone(): boolean {
    return !this.#out.isOpen
  }

  confirm(seq: number): boolean {
    if (this.#inbox?.isExplicit !== true) return false
    this.#inbox.reader.confirmUpTo(seq)
    return true
  }

  // ── life and end ────────────────────────────────────────────────────────────────────────────────────────

  #guarded<A extends unknown[]>(where: string, handler: (...args: A) => void): (...args: A) => void {
    const onFault: OnFault = (name, thrown) => this.host.onFault(name, thrown)
    return guarded(where, { onFault, end: () => this.ws.terminate() }, handler)
  }

  #failed(where: string, thrown: unknown): void {
    this.host.onFault(where, thrown)
    this.ws.terminate()
  }

  /** To be called every `checkEveryMs`: ends a dead or stalled client. @param now performance.now() */
  check(now: number): void {
    const isHeld = this.#isHeld
    const verdict = this.#liveness.check(now, isHeld, isHeld ? 0 : (this.#inbox?.owedFor(now) ?? 0))
    if (verdict === 'dead') this.#drop()
    else if (verdict === 'stalled') this.end('SLOW_CLIENT')
    else if (this.userId === undefined && this.#replies.pending === 0) {
      const reason = this.#quota.idle(now)
      if (reason !== undefined) this.end(reason)
    }
  }

  /** Instead of `check`, where this process did not run for a while. */
  excuse(now: number): void {
    this.#liveness.excuse(now)
  }

  /** Reading is stopped and the reason is ours: no pong can be seen. */
  get #isHeld(): boolean {
    return this.#paused && !this.#isFull
  }

  async probe(): Promise<boolean> {
    const isAlive = !this.#ended && (this.#isHeld || (await this.#liveness.probe()))
    if (!isAlive) this.#drop()
    return isAlive
  }

  /** What is being answered is answered first. */
  end(code: CodeName): void {
    if (this.#ended) return
    this.#finish(code)
    this.#farewell = code
    this.#sayFarewell()
  }

  #sayFarewell(): void {
    const code = this.#farewell
    if (code === undefined || this.#replies.pending > 0) return
    this.#farewell = undefined
    this.write(encodeReply(code, this.locale))
    this.#out.close(CODES[code].close ?? 1011, code)
  }

  /** The server is leaving. */
  goAway(): void {
    this.#finish('SHUTDOWN')
    this.#out.close(1001, 'SHUTDOWN')
  }

  destroy(): void {
    this.ws.terminate()
  }

  /** No goodbye: nobody is there. */
  #drop(): void {
    if (this.#ended) return
    this.#finish('dead')
    this.ws.terminate()
  }

  /** Safe to call twice. */
  #release(userId: UserId): void {
    this.host.services.live.leave(userId, this)
    this.#quota.leave(userId)
  }

  #finish(reason: string): void {
    if (!this.#ended) this.host.metrics.closed.inc({ front: 'json', reason })
    this.#close(reason)
  }

  #clientLeft(code: number): void {
    this.hasLeft = !this.#ended
    // What was put off before login is not done for one who is gone.
    if (this.#delay.isOn && this.userId === undefined) this.#requests.clear()
    this.#close(code === NO_CLOSE_FRAME ? 'dropped' : 'left')
    this.#requests.resume()
  }

  #close(reason: string): void {
    if (this.#ended) return
    this.#ended = true
    const { front, userId, remoteAddress, login } = this
    const facts = { front, userId, remoteAddress, device: login?.device } as const
    this.host.services.loginLog.ended(facts, reason, this.#openedAt)
    this.#guest.left()
    this.#delay.clear()
    this.#hold.clear()
    if (!this.hasLeft) this.#requests.clear()
    // To read the client's half of the closing handshake.
    if (this.#paused) this.ws.resume()
    this.#inbox?.reader.close()
    this.permissions?.left()
    if (this.userId !== undefined) this.#release(this.userId)
    this.#liveness.ended()
    this.host.closed(this)
  }
}
