/** One JSON client: its socket's events, and how its connection lives and ends. */
import type { CodeName, Locale } from '../core/errors.js'
import type { ControlFrames } from '../limits/control-frames.js'
import type { LiveConnection } from '../live/live.js'
import { BackPressure } from './back-pressure.js'
import { Closing, GOING_AWAY } from './closing.js'
import { FrameWriter, type WriterOwner } from './frame-writer.js'
import type { Asker, ConnectionHost } from './host.js'
import { Liveness } from './liveness.js'
import { JsonLogin } from './login.js'
import { Quota } from './quota.js'
import { Requests } from './requests.js'
import type { ClientSocket, SocketOwner } from './socket.js'

const TOO_LONG = 1009 // RFC 6455, 7.4.1

export class JsonConnection implements Asker, LiveConnection, SocketOwner, WriterOwner {
  readonly front = 'json'
  /** The client closed the connection: requests of it that were read and that change something are still run. */
  hasLeft = false
  readonly target: JsonLogin
  readonly #out: FrameWriter
  readonly #requests: Requests
  readonly #pressure: BackPressure
  /** Made at the end. */
  #closing: Closing | undefined
  readonly #liveness: Liveness
  readonly #quota: Quota
  readonly #control: ControlFrames
  readonly #openedAt = performance.now()
  #ended = false

  /**
   * @param remoteAddress stays readable when the socket is gone
   * @param closed called once, when the connection has ended
   */
  constructor(
    private readonly host: ConnectionHost,
    private readonly ws: ClientSocket,
    readonly locale: Locale,
    readonly remoteAddress: string | undefined,
    private readonly closed: (connection: JsonConnection) => void,
  ) {
    const { rules } = host
    const { limits } = host.services
    this.#control = limits.controlFrames()
    this.#quota = new Quota(limits, rules, remoteAddress)
    const { socket } = ws
    this.#liveness = new Liveness(ws, socket, rules, this.#control)
    this.#out = new FrameWriter(ws, socket, host.services.inbox.turnEnd, rules, this)
    this.target = new JsonLogin(host, this, ws, this.#out, this.#quota)
    this.#requests = new Requests(host, this, this.#out, this.#quota)
    this.#pressure = new BackPressure(ws, this.#requests, this.#out, this.#control, rules, this)
    ws.listen(this, this.#out)
  }

  /** Resolves when the socket is closed. */
  get gone(): Promise<void> {
    const { socket } = this.ws
    if (socket.closed) return Promise.resolve()
    return new Promise(resolve => socket.once('close', () => resolve()))
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

  received(data: Buffer, isBinary: boolean): void {
    if (this.#ended) {
      this.#passOver()
      return
    }
    this.#liveness.seen()
    if (isBinary) this.#requests.push(undefined, 0)
    else this.#requests.push(data.toString(), data.length)
    this.#pressure.update()
  }

  pinged(payload: Buffer): void {
    if (this.#sawControlFrame('ping')) this.#out.pong(payload)
  }

  ponged(payload: Buffer): void {
    if (this.#sawControlFrame('pong')) this.target.pong(payload)
  }

  drained(): void {
    this.#liveness.seen()
    this.goOn()
  }

  failed(code: number, reason: string): void {
    const { limits, log } = this.host.services
    if (code === TOO_LONG) limits.count('limits.frame')
    log.info({ event: 'socket.failed', front: 'json', code, reason }, 'client broke the protocol')
  }

  clientLeft(saidSo: boolean): void {
    this.hasLeft = !this.#ended
    this.#requests.clientLeft()
    this.#close(saidSo ? 'left' : 'dropped')
    this.#requests.resume()
  }

  fault(where: string, thrown: unknown): void {
    this.host.onFault(where, thrown)
    this.ws.terminate()
  }

  /** @returns false if the connection has ended */
  #sawControlFrame(kind: 'ping' | 'pong'): boolean {
    if (this.#ended) {
      this.#passOver()
      return false
    }
    this.#liveness.seen()
    this.#pressure.took(kind)
    return true
  }

  /** Something came after the end. */
  #passOver(): void {
    this.#closing ??= new Closing(this.ws, this.#out, this.locale)
    this.#closing.passOver(this.userId !== undefined)
  }

  pingPayload(): string | undefined {
    const payload = this.target.pingPayload()
    if (payload !== undefined) this.#control.pinged()
    return payload
  }

  /** The client took what was written, or a wait is over: what had to wait for that goes on. */
  goOn(): void {
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

  /** The first message, which leaves now. @param text the same for all clients */
  greet(text: string): void {
    this.#out.writeFixed(text)
    this.#out.flush()
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
    this.#closing = new Closing(this.ws, this.#out, this.locale)
    this.#closing.because(code)
    this.#sayFarewell()
  }

  #sayFarewell(): void {
    if (this.#requests.pending === 0) this.#closing?.sayWhy()
  }

  /** The server is leaving. */
  goAway(): void {
    this.#finish('SHUTDOWN')
    this.#out.close(GOING_AWAY, 'SHUTDOWN')
  }

  /** The same while others stay: what is being answered is answered first. @param after s until the client should be back */
  dismiss(after: number): void {
    if (this.#ended) return
    const notice = this.target.notice('closing', { after })
    this.#finish('SHUTDOWN')
    this.#closing = new Closing(this.ws, this.#out, this.locale)
    this.#closing.away(notice)
    this.#sayFarewell()
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
