/**
 * The WebSocket of a JSON client, over a socket after its handshake. It is ours because of its size: an idle one of `ws` has
 * two streams, a sender and ten listeners of its own, which is more than all the rest of an idle connection.
 */

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { closeFault, closeFrame, controlFrame } from '../net/control-frame.js'
import { type FrameFault, FrameReader, type FrameTaker, OPCODE } from '../net/frames.js'
import { acceptWebSocket } from '../net/handshake.js'
import type { SocketOwner, Unwritten } from './socket-owner.js'

export type { SocketOwner } from './socket-owner.js'

/** How long a client has for its part of the closing handshake, ms. */
const CLOSE_TIMEOUT_MS = 30_000

const WS = Symbol('websocket')
type Owned = Socket & { [WS]?: ClientSocket }

export class ClientSocket implements FrameTaker {
  /** True while a client is logged in: `pause` then stops the socket only, and what was read is processed. */
  isTrusted = false
  #isOpen = true
  #owner: SocketOwner | undefined
  #out: Unwritten | undefined
  readonly #frames: FrameReader
  /** Frames that were read may wait for `resume`. */
  #hasRest = false
  /** `resume` was called for them. */
  #isDue = false
  /** The client sent a close frame. */
  #saidSo = false
  #closeTimer: NodeJS.Timeout | undefined

  /** @param maxPayload most bytes of one message */
  constructor(
    readonly socket: Socket,
    maxPayload: number,
  ) {
    this.#frames = new FrameReader(this, maxPayload)
  }

  /**
   * Answers a request to upgrade. @param head what came behind it
   * @returns undefined if it was refused
   */
  static accept(request: IncomingMessage, head: Buffer, maxPayload: number): ClientSocket | undefined {
    const { socket } = request
    if (!acceptWebSocket(request, socket)) return undefined
    if (head.length > 0) socket.unshift(head)
    return new ClientSocket(socket, maxPayload)
  }

  /** From now on `owner` is told of the events. @param out leaves before a close frame, behind which nothing may (RFC 6455, 5.5.1) */
  listen(owner: SocketOwner, out: Unwritten): void {
    this.#owner = owner
    this.#out = out
    const socket: Owned = this.socket
    socket[WS] = this
    socket.on('data', onData).on('drain', onDrain)
    socket.on('end', onEnd).on('error', onError).on('close', onClose)
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** This and OPEN: for what also works with `ws`. */
  get readyState(): number {
    return this.#isOpen ? this.OPEN : 3
  }

  get OPEN(): number {
    return 1
  }

  pause(): void {
    this.socket.pause()
    this.#isDue = false
    if (this.isTrusted || !this.#frames.isReading) return
    this.#frames.stop()
    this.#hasRest = true
  }

  /** First processes, in a turn of its own, the rest of what was read. */
  resume(): void {
    if (!this.#hasRest) this.socket.resume()
    else if (!this.#isDue) {
      this.#isDue = true
      setImmediate(() => this.#goOn())
    }
  }

  #goOn(): void {
    // `pause` was called in the meantime, or all is over.
    if (!this.#isDue) return
    this.#isDue = false
    this.#hasRest = false
    this.#frames.goOn()
    if (!this.#hasRest) this.socket.resume()
  }

  ping(): void {
    if (this.#isOpen) this.socket.write(controlFrame(OPCODE.ping))
  }

  /** @param sent called when the socket has taken it */
  pong(payload: Buffer, _mask: boolean, sent: () => void): void {
    if (this.#isOpen) this.socket.write(controlFrame(OPCODE.pong, payload), sent)
  }

  /** Begins the closing handshake. @param reason at most 123 bytes */
  close(code: number, reason: string): void {
    if (!this.#isOpen) return
    this.#out?.flush()
    this.#isOpen = false
    this.socket.write(closeFrame(code, reason))
    this.#closeTimer = setTimeout(() => this.socket.destroy(), CLOSE_TIMEOUT_MS)
  }

  terminate(): void {
    this.#isOpen = false
    this.#takeNoMore()
    this.socket.destroy()
  }

  #takeNoMore(): void {
    this.#isDue = false
    this.#hasRest = false
    this.#frames.end()
  }

  // ── frames ──────────────────────────────────────────────────────────────────────────────────────────────

  message(payload: Buffer, isBinary: boolean): void {
    const owner = this.#owner
    try {
      owner?.received(payload, isBinary)
    } catch (thrown) {
      owner?.fault('ws.message', thrown)
    }
  }

  control(opcode: number, payload: Buffer): void {
    if (opcode === OPCODE.ping) this.#tell('ws.ping', owner => owner.pinged(payload))
    else if (opcode === OPCODE.pong) this.#tell('ws.pong', owner => owner.ponged(payload))
    else this.#closed(payload)
  }

  fault(fault: FrameFault): void {
    this.#tell('ws.error', owner => owner.failed(fault.code, fault.what))
    this.close(fault.code, '')
    this.#end()
  }

  /** The client's close frame. It is answered by one with its code, unless it is the answer to ours (RFC 6455, 5.5.1). */
  #closed(payload: Buffer): void {
    const fault = closeFault(payload)
    if (fault !== undefined) {
      this.fault(fault)
      return
    }
    this.#saidSo = true
    if (this.#isOpen) {
      this.#out?.flush()
      this.#isOpen = false
      this.socket.write(controlFrame(OPCODE.close, payload))
    }
    this.#end()
  }

  /** All is said: what the client still sends is dropped until it has closed its side. */
  #end(): void {
    this.#takeNoMore()
    this.socket.end()
    this.socket.resume()
    this.#closeTimer ??= setTimeout(() => this.socket.destroy(), CLOSE_TIMEOUT_MS)
  }

  // ── the socket ──────────────────────────────────────────────────────────────────────────────────────────

  data(bytes: Buffer): void {
    this.#frames.read(bytes)
  }

  drained(): void {
    this.#tell('ws.drain', owner => owner.drained())
  }

  /** The client has closed its side without a close frame. */
  ended(): void {
    this.#isOpen = false
    this.socket.end()
  }

  broke(): void {
    this.#isOpen = false
    this.socket.destroy()
  }

  /** What was read is processed first, though nobody gets the answers: requests that change something are still run. */
  gone(): void {
    this.#isOpen = false
    if (this.#hasRest) this.#frames.goOn()
    const unread: Buffer | null = this.socket.readableLength > 0 ? this.socket.read() : null
    if (unread !== null) this.#frames.read(unread)
    this.#takeNoMore()
    clearTimeout(this.#closeTimer)
    this.#tell('ws.close', owner => owner.clientLeft(this.#saidSo))
  }

  #tell(where: string, tell: (owner: SocketOwner) => void): void {
    const owner = this.#owner
    if (owner === undefined) return
    try {
      tell(owner)
    } catch (thrown) {
      owner.fault(where, thrown)
    }
  }
}

function onData(this: Owned, bytes: Buffer): void {
  this[WS]?.data(bytes)
}

function onDrain(this: Owned): void {
  this[WS]?.drained()
}

function onEnd(this: Owned): void {
  this[WS]?.ended()
}

function onError(this: Owned): void {
  this[WS]?.broke()
}

function onClose(this: Owned): void {
  this[WS]?.gone()
}
