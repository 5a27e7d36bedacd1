/** MQTT over WebSocket (MQTT 3.1.1, section 6): ws does the handshake and makes a byte stream of the WebSocket. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { createWebSocketStream, type Server, type WebSocket, WebSocketServer } from 'ws'
import type { Locale } from '../../core/errors.js'
import { TurnEnd } from '../../flow/turn-end.js'
import type { Limits } from '../../limits/limits.js'
import { askedLocale } from '../../net/asked-locale.js'
import { Ponger } from '../../net/pong.js'
import { type PausableWebSocket, serverOptions } from '../../net/websocket.js'

/** Subprotocol names: of MQTT 3.1.1 [MQTT-6.0.0-3], and the one that 3.1 clients ask for. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1']

const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

/** Without half-open: nothing is written to a client that has closed its side. */
const STREAM = { allowHalfOpen: false, readableHighWaterMark: 1024 }
/** WebSocket messages of a client before CONNACK or after the close frame: so many in all, and so many a turn. */
const MAX_UNANSWERED = 1000
const UNANSWERED_A_TURN = 64

export class MqttWebSocketServer {
  readonly #wss: Server<typeof PausableWebSocket>
  readonly #turnEnd = new TurnEnd()

  /** @param take gets each open WebSocket as a stream of MQTT bytes */
  constructor(
    private readonly maxBytes: {
      /** Of one WebSocket message. */
      readonly frame: number
      /** The same before CONNACK: a CONNECT, and what may come with it. */
      readonly frameBeforeConnack: number
    },
    private readonly take: (
      stream: Duplex,
      webSocket: WebSocket,
      client: { readonly address: string | undefined; readonly locale: Locale | undefined },
    ) => void,
    private readonly limits: Pick<Limits, 'controlFrames'>,
  ) {
    this.#wss = new WebSocketServer({
      ...serverOptions(maxBytes.frame),
      handleProtocols: offered => SUBPROTOCOLS.find(name => offered.has(name)) ?? false,
    })
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, address: string | undefined): void {
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map(name => name.trim())
    if (!SUBPROTOCOLS.some(name => offered.includes(name))) {
      // Does not wait for the client to close its side; ws refuses in the same way.
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

  /** Bounds the work of a client that sends its bytes in messages of one byte each: one read can bring 9,000. */
  #stream(ws: PausableWebSocket): Duplex {
    let isAnswered = false
    let unanswered = 0
    ws.limit(this.maxBytes.frameBeforeConnack)
    // Added before the stream's listener: where the stream pauses the WebSocket, that comes after `endTurn`.
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
      ws.limit(this.maxBytes.frame)
      stream._write = _write
      stream._write(...write)
    }
    return stream
  }

  /** A client that sends pings or pongs over their rate is read later. */
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
