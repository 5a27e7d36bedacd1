/** MQTT over WebSocket: ws does the handshake, and makes a byte stream of the open socket. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { createWebSocketStream, type Server, type WebSocket, WebSocketServer } from 'ws'
import { askedLocale, type Locale } from '../../core/errors.js'
import { TurnEnd } from '../../flow/turn-end.js'
import type { Limits } from '../../limits/limits.js'
import { Ponger } from '../../net/pong.js'
import { type PausableWebSocket, serverOptions } from '../../net/websocket.js'

/** MQTT 3.1.1's name [MQTT-6.0.0-3], and the one that 3.1 clients ask for. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1']

const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

/** Who has closed is not written to. */
const STREAM = { allowHalfOpen: false, readableHighWaterMark: 1024 }
/** Frames of a client before its CONNACK or behind its end: so many are taken, and so many of them a turn. */
const MAX_UNANSWERED = 1000
const UNANSWERED_A_TURN = 64

export class MqttWebSocketServer {
  readonly #wss: Server<typeof PausableWebSocket>
  readonly #turnEnd = new TurnEnd()

  /** @param take gets each open socket as a stream of MQTT bytes */
  constructor(
    maxFrameBytes: number,
    private readonly take: (
      stream: Duplex,
      webSocket: WebSocket,
      client: { readonly address: string | undefined; readonly locale: Locale | undefined },
    ) => void,
    private readonly limits: Pick<Limits, 'controlFrames'>,
  ) {
    this.#wss = new WebSocketServer({
      ...serverOptions(maxFrameBytes),
      handleProtocols: offered => SUBPROTOCOLS.find(name => offered.has(name)) ?? false,
    })
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, address: string | undefined): void {
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map(name => name.trim())
    if (!SUBPROTOCOLS.some(name => offered.includes(name))) {
      // Whoever keeps its own end open is not waited for; ws closes those that it refuses in the same way.
      socket.once('finish', () => socket.destroy())
      socket.end(BAD_REQUEST)
      return
    }
    this.#wss.handleUpgrade(request, socket, head, ws => {
      const stream = this.#stream(ws)
      this.#pace(ws)
      this.take(stream, ws, { address, locale: askedLocale(request.url) })
    })
  }

  /** Packets may come in frames of one byte each, 9,000 a read. */
  #stream(ws: PausableWebSocket): Duplex {
    let isAnswered = false
    let unanswered = 0
    // Before the stream's: what it holds back by `pause` stays held back.
    ws.on('message', (_data, isBinary) => {
      // MQTT is binary: a text frame ends the connection [MQTT-6.0.0-1].
      if (!isBinary) ws.close(1003)
      if (isAnswered && ws.readyState === ws.OPEN) return
      if (++unanswered > MAX_UNANSWERED) ws.terminate()
      else if (unanswered % UNANSWERED_A_TURN === 0) ws.endTurn()
    })
    const stream = createWebSocketStream(ws, STREAM)
    const { _write } = stream
    stream._write = (...write) => {
      isAnswered = true
      stream._write = _write
      stream._write(...write)
    }
    return stream
  }

  /** Pings and pongs beyond their rate are read later. */
  #pace(ws: WebSocket): void {
    const frames = this.limits.controlFrames()
    let timer: NodeJS.Timeout | undefined
    const take = (kind: 'ping' | 'pong') => {
      const waitMs = frames.take(kind)
      if (waitMs === 0) return
      ws.pause()
      clearTimeout(timer)
      timer = setTimeout(() => ws.resume(), waitMs)
    }
    const ponger = new Ponger(ws, this.#turnEnd)
    ws.on('ping', payload => {
      ponger.pinged(payload)
      take('ping')
    })
    ws.on('pong', () => take('pong'))
    ws.once('close', () => clearTimeout(timer))
  }
}
