/** One JSON client: its socket's events, and how its connection lives and ends. */
import type { Socket } from 'node:net'
import type { RawData } from 'ws'
import type { CodeName, Locale } from '../core/errors.js'
import { guarded } from '../core/faults.js'
import type { LiveConnection } from '../live/live.js'
import type { PausableWebSocket } from '../net/websocket.js'
import { BackPressure } from './back-pressure.js'
import { Closing } from './closing.js'
import { FrameWriter } from './frame-writer.js'
import type { Asker, ConnectionHost, Fuse } from './host.js'
import { Liveness } from './liveness.js'
import { JsonLogin } from './login.js'
import { Quota } from './quota.js'
import { Requests } from './requests.js'

/** The code that ws reports where the client sent no close frame (RFC 6455 7.1.5). */
const NO_CLOSE_FRAME = 1006

export class JsonConnection implements Asker, LiveConnection {
  readonly front = 'json'
  readonly locale: Locale
  /** Stays readable when the socket is gone. */
  readonly remoteAddress: string | undefined
  /** Resolves when the socket is closed. */
  readonly gone: Promise<void>
  /** The client closed the connection: requests of it that were read and that change something are still run. */
  hasLeft = false
  readonly target: JsonLogin
  readonly #out: FrameWriter
  readonly #requests: Requests
  readonly #pressure: BackPressure
  readonly #closing: Closing
  readonly #liveness: Liveness
  readonly #quota: Quota
  readonly #openedAt = performance.now()
  #ended = false

  /** @param closed called once, when the connection has ended */
  constructor(
    private readonly host: ConnectionHost,
    private readonly ws: PausableWebSocket,
    socket: Socket,
    client: { readonly locale: Locale; readonly address: string | undefined },
    private readonly closed: (connection: JsonConnection) => void,
  ) {
    this.locale = client.locale
    this.remoteAddress = client.address
    this.gone = new Promise(resolve => socket.once('close', () => resolve()))
    const { limits } = host.services
    const { maxBufferedBytes } = host.rules
    const fuse: Fuse = { onFault: host.onFault, end: () => ws.terminate() }
    const control = limits.controlFrames()
    const pinged = () => control.pinged()
    this.#quota = new Quota(limits, host.rules, client.address)
    this.#liveness = new Liveness(ws, socket, host.rules, pinged)
    this.#out = new FrameWriter(ws, socket, host.turnEnd, {
      maxBufferedBytes,
      pingPayload: () => this.target.pingPayload(),
      pinged,
      written: () => this.#goOn(),
      fuse,
    })
    this.target = new JsonLogin(host, this, { ws, out: this.#out, quota: this.#quota })
    this.#requests = new Requests(host, this, this.#out, this.#quota, fuse)
    this.#pressure = new BackPressure(ws, this.#requests, this.#out, { control, maxBufferedBytes, fuse })
    this.#closing = new Closing(ws, this.#out, client.locale)
    this.#listen(socket, fuse)
  }

  get userId() {
    return this.target.userId
  }

  get login() {
    return this.target.login
  }

  get permissions() {
    return this.target.permissions
  }

  // ── the socket ──────────────────────────────────────────────────────────────────────────────────────────

  #listen(socket: Socket, fuse: Fuse): void {
    const { ws } = this
    const received = (data: RawData, isBinary: boolean) => this.#received(data as Buffer, isBinary)
    const pinged = (payload: Buffer) => {
      if (this.#sawControlFrame('ping')) this.#out.pong(payload)
    }
    const ponged = (payload: Buffer) => {
      if (this.#sawControlFrame('pong')) this.target.pong(payload)
    }
    ws.on('message', guarded('ws.message', fuse, received))
    ws.on('ping', guarded('ws.ping', fuse, pinged)).on('pong', guarded('ws.pong', fuse, ponged))
    const clientLeft = (code: number) => this.#clientLeft(code)
    ws.on('close', guarded('ws.close', fuse, clientLeft))
    // ws answers protocol faults itself (1002, 1007, 1009) and then closes.
    ws.on('error', ({ code }: NodeJS.ErrnoException) => {
      const { limits, log } = this.host.services
      if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') limits.count('limits.frame')
      log.info({ event: 'socket.failed', front: 'json', code }, 'socket failed')
    })
    const drained = () => {
      this.#liveness.seen()
      this.#goOn()
    }
    socket.on('drain', guarded('ws.drain', fuse, drained))
  }

  #received(data: Buffer, isBinary: boolean): void {
    if (this.#ended) {
      this.#closing.passOver(this.userId !== undefined)
      return
    }
    this.#liveness.seen()
    if (isBinary) this.#requests.push(undefined, 0)
    else this.#requests.push(data.toString(), data.length)
    this.#pressure.update()
  }

  /** @returns false if the connection has ended */
  #sawControlFrame(kind: 'ping' | 'pong'): boolean {
    if (this.#ended) {
      this.#closing.passOver(this.userId !== undefined)
      return false
    }
    this.#liveness.seen()
    this.#pressure.took(kind)
    return true
  }

  /** The client took what was written, or a wait is over: what had to wait for that goes on. */
  #goOn(): void {
    if (this.#out.isFull) return
    this.target.resumeDelivery()
    this.#requests.resume()
    this.#pressure.update()
  }

  // ── what the requests ask of it ─────────────────────────────────────────────────────────────────────────

  get isGone(): boolean {
    return !this.#out.isOpen
  }

  leave(): void {
    this.target.leave()
  }

  replied(reason: CodeName | undefined): void {
    if (this.#pressure.isOn) this.#pressure.update()
    if (reason !== undefined) this.end(reason)
    this.#sayFarewell()
  }

  delayed(): void {
    this.#goOn()
  }

  /** Text of one message; leaves with the others of this turn. */
  write(text: string): void {
    this.#out.write(text)
  }

  // ── life and end ────────────────────────────────────────────────────────────────────────────────────────

  /** To be called every `checkEveryMs`: ends a dead or stalled client. @param now performance.now() */
  check(now: number): void {
    const isHeld = this.#isHeld
    const verdict = this.#liveness.check(now, isHeld, isHeld ? 0 : this.target.owedFor(now))
    if (verdict === 'dead') this.#drop()
    else if (verdict === 'stalled') this.end('SLOW_CLIENT')
    else if (this.userId === undefined && this.#requests.pending === 0) {
      const reason = this.#quota.idle(now)
      if (reason !== undefined) this.end(reason)
    }
  }

  /** To be called instead of `check` where this process did not run for a while. @param now performance.now() */
  excuse(now: number): void {
    this.#liveness.excuse(now)
  }

  /** Reading is stopped and not because of the client: no pong of it can be seen. */
  get #isHeld(): boolean {
    return this.#pressure.isOn && !this.#out.isFull
  }

  async probe(): Promise<boolean> {
    const isAlive = !this.#ended && (this.#isHeld || (await this.#liveness.probe()))
    if (!isAlive) this.#drop()
    return isAlive
  }

  /** Ends the connection and says why; requests that are being answered are answered first. */
  end(code: CodeName): void {
    if (this.#ended) return
    this.#finish(code)
    this.#closing.because(code)
    this.#sayFarewell()
  }

  #sayFarewell(): void {
    if (this.#requests.pending === 0) this.#closing.sayWhy()
  }

  /** The server is leaving. */
  goAway(): void {
    this.#finish('SHUTDOWN')
    this.#out.close(1001, 'SHUTDOWN')
  }

  destroy(): void {
    this.ws.terminate()
  }

  /** Ends the connection of a client that is dead, so without a reason to it. */
  #drop(): void {
    if (this.#ended) return
    this.#finish('dead')
    this.ws.terminate()
  }

  #finish(reason: string): void {
    if (!this.#ended) this.host.metrics.closed.inc({ front: 'json', reason })
    this.#close(reason)
  }

  #clientLeft(code: number): void {
    this.hasLeft = !this.#ended
    this.#requests.clientLeft()
    this.#close(code === NO_CLOSE_FRAME ? 'dropped' : 'left')
    this.#requests.resume()
  }

  #close(reason: string): void {
    if (this.#ended) return
    this.#ended = true
    const { front, userId, remoteAddress, login } = this
    const facts = { front, userId, remoteAddress, device: login?.device } as const
    this.host.services.loginLog.ended(facts, reason, this.#openedAt)
    this.#requests.stop()
    this.#pressure.stop()
    this.target.close()
    this.#liveness.ended()
    this.closed(this)
  }
}
