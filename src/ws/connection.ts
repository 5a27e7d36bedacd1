/** One JSON client: frame in → request → handler; replies and messages out, in order and in groups. */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { LiveConnection } from '../accounts/live.js'
import { CODES, type CodeName, GatewayError, type Locale, toGatewayError } from '../errors.js'
import type { Caller, Services } from '../handle/context.js'
import { handle } from '../handle/index.js'
import { type Outcome, Replies } from '../handle/replies.js'
import { DEFAULT_DEVICE } from '../inbox/cursors.js'
import type { InboxSession, SessionOptions, Sink } from '../inbox/session.js'
import type { Metrics } from '../metrics.js'
import type { InboxRow, User, UserId } from '../model.js'
import { encodeEvent, encodeExtendedMessage, encodeMessage, encodeReply } from '../request/reply.js'
import { parseRequest, RefusedRequest, type RequestData } from '../request/schema.js'
import type { Corked, WriteGroup } from './write-group.js'

export interface ConnectionRules {
  /** Requests waiting for their answer; beyond it the socket is read no further until half are answered. */
  readonly maxPipelined: number
  /** Refused requests in a row after which the connection is closed. */
  readonly maxRefusals: number
  /** Bytes that the client has not taken, after which nothing is delivered or read until it takes them. */
  readonly maxBufferedBytes: number
  /** A client that shows no life for this long is pinged, ms. */
  readonly pingIntervalMs: number
  /** A pinged client that shows none for this long is dead, ms. */
  readonly pingTimeoutMs: number
  /** A client that takes nothing of what waits for it for this long is closed (4008), ms. */
  readonly stallTimeoutMs: number
  /** How often `check` is called, ms. */
  readonly checkEveryMs: number
}

/** What a connection needs from the server that took it. */
export interface ConnectionHost {
  readonly services: Services
  readonly rules: ConnectionRules
  readonly metrics: Metrics
  readonly group: WriteGroup
  /** False while the server is closing: requests are then refused. */
  readonly isOpen: boolean
  openSession(options: Pick<SessionOptions, 'userId' | 'device' | 'sink' | 'from'>): InboxSession
  closed(connection: JsonConnection): void
}

export class JsonConnection implements Caller, LiveConnection, Sink, Corked {
  readonly front = 'json'
  userId: UserId | undefined
  /** performance.now() of the last sign of life: anything received, or bytes that the client took. */
  #lastSeen = performance.now()
  /** Bytes that had left for the client, and performance.now() when they were last seen to move or none waited. */
  #taken = 0
  #lastTaken = performance.now()
  /** Resolves when the socket is closed. */
  readonly gone: Promise<void>
  #pingedFor = Number.NaN
  readonly #replies = new Replies(outcome => this.#reply(outcome))
  #waiting: string[] = []
  #busy = false
  #paused = false
  #corked = false
  #ended = false
  #refusals = 0
  #session: InboxSession | undefined
  #confirmsByPong = true
  #events: ReadonlySet<string> = new Set()
  #encode: (row: InboxRow) => string = encodeMessage
  /** seq named in the ping that is out, 0 for none. */
  #pinged = 0
  #alive: (() => void)[] = []

  constructor(
    private readonly host: ConnectionHost,
    private readonly ws: WebSocket,
    private readonly socket: Socket,
    readonly locale: Locale,
  ) {
    ws.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary))
    ws.on('pong', payload => this.#pong(payload))
    ws.on('ping', () => this.#sawClient())
    this.gone = new Promise(resolve => socket.once('close', () => resolve()))
    ws.on('close', () => this.#close())
    // ws answers protocol faults itself (1002, 1007, 1009) and then closes.
    ws.on('error', err =>
      host.services.log.info(
        { event: 'socket.failed', front: 'json', code: (err as NodeJS.ErrnoException).code },
        'socket failed',
      ),
    )
    socket.on('drain', () => this.#drained())
  }

  // ── in ──────────────────────────────────────────────────────────────────────────────────────────────────

  #receive(data: Buffer, isBinary: boolean): void {
    if (this.#ended) return
    this.#sawClient()
    if (isBinary) {
      this.#refuse(new GatewayError('BAD_JSON', { reason: 'binary frame; requests are text frames' }))
      return
    }
    if (this.#busy) {
      this.#waiting.push(data.toString())
      this.#throttle()
    } else this.#begin(data.toString())
  }

  /** Runs one request; while a handler asks the connection to wait, later frames queue up behind it. */
  #begin(frame: string): void {
    let request: ReturnType<typeof parseRequest>
    try {
      if (!this.host.isOpen) throw new GatewayError('SHUTDOWN')
      request = parseRequest(frame, this.host.services.rules)
    } catch (thrown) {
      this.#refuse(toGatewayError(thrown), thrown instanceof RefusedRequest ? thrown.id : undefined)
      return
    }
    const answer = this.#replies.reserve(request.name, request.id)
    const later = handle(this.host.services, this, request, answer)
    this.#throttle()
    if (later === undefined) return
    this.#busy = true
    void later.then(() => this.#continue())
  }

  #continue(): void {
    this.#busy = false
    const frames = this.#waiting
    let next = 0
    while (next < frames.length && !this.#busy && !this.#ended) this.#begin(frames[next++] ?? '')
    // A request that must be waited for took over: what is left goes in front of what came meanwhile.
    this.#waiting = this.#waiting === frames ? frames.slice(next) : frames.slice(next).concat(this.#waiting)
    this.#throttle()
  }

  #refuse(error: GatewayError, id?: string): void {
    this.#replies.reserve('invalid', id).refuse(error)
  }

  /** Stops reading from a client that sends faster than it is answered or takes its answers. */
  #throttle(): void {
    const { maxPipelined, maxBufferedBytes } = this.host.rules
    const open = this.#replies.pending + this.#waiting.length
    const full = this.socket.writableLength > maxBufferedBytes
    if (!this.#paused && (open >= maxPipelined || full)) {
      this.#paused = true
      this.ws.pause()
    } else if (this.#paused && open <= maxPipelined / 2 && !full) {
      this.#paused = false
      this.ws.resume()
    }
  }

  // ── out ─────────────────────────────────────────────────────────────────────────────────────────────────

  #reply({ request, id, code, data }: Outcome): void {
    this.host.metrics.answered('json', request, CODES[code].code)
    this.write(encodeReply(code, this.locale, data, id))
    if (this.#paused) this.#throttle()
    const wasRefused = CODES[code].code >= 500 && !CODES[code].retry
    this.#refusals = wasRefused ? this.#refusals + 1 : 0
    if (this.#refusals >= this.host.rules.maxRefusals) this.end('TOO_MANY_ERRORS')
  }

  /** One text frame; leaves with the others of this turn. */
  write(frame: string): void {
    if (this.ws.readyState !== this.ws.OPEN) return
    this.#cork()
    this.ws.send(frame)
  }

  #cork(): void {
    if (this.#corked) return
    this.#corked = true
    this.socket.cork()
    this.host.group.add(this)
  }

  uncork(): void {
    this.#corked = false
    this.#askConfirm()
    this.socket.uncork()
  }

  #drained(): void {
    this.#lastSeen = performance.now()
    this.#session?.resume()
    this.#throttle()
  }

  // ── delivery ────────────────────────────────────────────────────────────────────────────────────────────

  get canTake(): boolean {
    return (
      this.socket.writableLength <= this.host.rules.maxBufferedBytes && this.ws.readyState === this.ws.OPEN
    )
  }

  deliver(row: InboxRow): void {
    this.write(this.#encode(row))
  }

  gap(from: number, to: number): void {
    if (this.#events.has('dropped')) this.write(encodeEvent('dropped', { from, to }))
  }

  startDelivery(): void {
    this.#session?.start().catch(thrown => {
      // Nothing can be delivered: the client must come back, and finds everything where it was.
      const err = toGatewayError(thrown)
      this.host.services.log.error(
        { event: 'store.failed', operation: 'startSession', userId: this.userId, err },
        'inbox not opened',
      )
      this.end('STORE_UNAVAILABLE')
    })
  }

  /**
   * Old clients know no acks, but every WebSocket endpoint answers pings (RFC 6455 5.5.2) and frames are ordered: the
   * pong to a ping that names a seq proves that everything up to it arrived. One ping at a time, for many messages.
   */
  #askConfirm(): void {
    const session = this.#session
    if (session === undefined || !this.#confirmsByPong || this.#pinged !== 0) return
    if (session.sent === session.confirmed || this.ws.readyState !== this.ws.OPEN) return
    this.#pinged = session.sent
    this.ws.ping(String(session.sent))
  }

  #pong(payload: Buffer): void {
    this.#sawClient()
    const session = this.#session
    if (session === undefined || this.#pinged === 0 || payload.toString() !== String(this.#pinged)) return
    const seq = this.#pinged
    this.#pinged = 0
    session.confirmUpTo(seq)
    if (!this.#corked && session.sent > session.confirmed) this.#cork()
  }

  // ── Caller ──────────────────────────────────────────────────────────────────────────────────────────────

  async enter(user: User, options: RequestData<'login'>): Promise<void> {
    await this.host.services.live.join(user.id, this)
    if (this.#ended) {
      this.host.services.live.leave(user.id, this)
      throw new GatewayError('ERROR_CONNECTION_CLOSED')
    }
    this.userId = user.id
    this.#confirmsByPong = options.ack !== 'explicit'
    this.#events = new Set(options.events)
    const isExtended =
      options.ack !== undefined || options.device !== undefined || options.events !== undefined
    if (isExtended) this.#encode = encodeExtendedMessage
    const { device, from } = options
    this.#session = this.host.openSession({
      userId: user.id,
      // The front ends' devices are apart: a client id and a device name may be the same by chance.
      device: device === undefined ? DEFAULT_DEVICE : `json ${device}`,
      sink: this,
      ...(from && { from }),
    })
  }

  confirm(seq: number): void {
    if (this.#confirmsByPong)
      throw new GatewayError('FORBIDDEN', { field: 'action', reason: 'needs ack: explicit at login' })
    this.#session?.confirmUpTo(seq)
  }

  // ── life and end ────────────────────────────────────────────────────────────────────────────────────────

  #sawClient(): void {
    this.#lastSeen = performance.now()
    for (const resolve of this.#alive.splice(0)) resolve()
  }

  /**
   * To be called a few times a heartbeat: pings a silent client, ends a dead or stalled one.
   * @param now performance.now()
   */
  check(now: number): void {
    const { pingIntervalMs, pingTimeoutMs, stallTimeoutMs, checkEveryMs } = this.host.rules
    this.#noteTaken(now)
    if (now - this.#lastTaken >= stallTimeoutMs) this.end('SLOW_CLIENT')
    // Reading is stopped and the reason is ours: the client's silence says nothing.
    if (this.#paused && this.socket.writableLength <= this.host.rules.maxBufferedBytes) this.#lastSeen = now
    const silence = now - this.#lastSeen + checkEveryMs
    if (silence >= pingIntervalMs + pingTimeoutMs) this.drop('dead')
    else if (
      silence >= pingIntervalMs &&
      this.#pingedFor !== this.#lastSeen &&
      this.ws.readyState === this.ws.OPEN
    ) {
      this.#pingedFor = this.#lastSeen
      this.ws.ping()
    }
  }

  /** Bytes that the client took are a sign of life: a pong may wait behind a megabyte. */
  #noteTaken(now: number): void {
    const taken = this.socket.bytesWritten - this.socket.writableLength
    if (this.socket.writableLength > 0 && taken === this.#taken) return
    if (taken !== this.#taken && this.#taken > 0 && this.socket.writableLength > 0) this.#lastSeen = now
    this.#taken = taken
    this.#lastTaken = now
  }

  async probe(): Promise<boolean> {
    if (this.#ended || this.ws.readyState !== this.ws.OPEN) return false
    const answered = await new Promise<boolean>(resolve => {
      const timer = setTimeout(() => resolve(false), this.host.rules.pingTimeoutMs)
      this.#alive.push(() => {
        clearTimeout(timer)
        resolve(true)
      })
      this.ws.ping()
    })
    if (!answered) this.drop('dead')
    return answered && !this.#ended
  }

  end(code: CodeName): void {
    if (this.#ended) return
    this.write(encodeReply(code, this.locale))
    this.#finish(code)
    this.ws.close(CODES[code].close ?? 1011, code)
  }

  /** The server is leaving. */
  goAway(): void {
    this.#finish('SHUTDOWN')
    this.ws.close(1001, 'SHUTDOWN')
  }

  destroy(): void {
    this.ws.terminate()
  }

  /** No goodbye: the client does not read. */
  drop(reason: 'dead' | 'stalled'): void {
    if (this.#ended) return
    this.#finish(reason)
    this.ws.terminate()
  }

  #finish(reason: string): void {
    if (!this.#ended) this.host.metrics.closed.inc({ front: 'json', reason })
    this.#close()
  }

  #close(): void {
    if (this.#ended) return
    this.#ended = true
    this.#waiting = []
    this.#session?.close()
    if (this.userId !== undefined) this.host.services.live.leave(this.userId, this)
    for (const resolve of this.#alive.splice(0)) resolve()
    this.host.closed(this)
  }
}
