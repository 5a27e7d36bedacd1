/**
 * An HTTP flood over many connections of one address that is not exempt from limits: pipelined requests of every path, with
 * and without bodies. Some clients read the answers and reconnect, others read nothing and stay.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { within } from '../within.js'
import { Fault } from './input.js'
import { PATIENCE_MS, type World } from './world.js'

const CONNECTIONS = 100
/** Requests in one write: as many as the gateway answers on one connection, whatever the limits of the address. */
const REQUESTS = 1_000
const PATHS = ['/', '/readyz', '/healthz', '/metrics', '/test', '/mqtt', '/nothing', '/?lang=de']
const BODY = 'x'.repeat(10_000)
/** Pause between two connections of one client; a refused client can repeat this for ever. */
const PAUSE_MS = 50

const head = (method: string, path: string, ...headers: string[]): string =>
  `${[`${method} ${path} HTTP/1.1`, 'Host: x', ...headers].join('\r\n')}\r\n\r\n`

const KINDS: readonly ((path: string) => string)[] = [
  path => head('GET', path),
  path => head('HEAD', path),
  path => `${head('POST', path, 'Content-Length: 1')}x`,
  path => `${head('POST', path, 'Transfer-Encoding: chunked')}${'1\r\nx\r\n'.repeat(100)}0\r\n\r\n`,
  path => head('POST', path, `Content-Length: ${BODY.length}`) + BODY,
]

/** The bytes that a client writes: every path, with one method. */
const WRITES = KINDS.map(kind =>
  Buffer.from(Array.from({ length: REQUESTS }, (_, i) => kind(PATHS[i % PATHS.length] ?? '/')).join('')),
)

export class HttpFlood {
  readonly #sockets = new Set<Socket>()
  #clients: Promise<void>[] = []
  #isOn = true

  private constructor(private readonly world: World) {}

  /** Resolves when all clients are connected; none has sent anything yet. */
  static async gather(world: World): Promise<HttpFlood> {
    const flood = new HttpFlood(world)
    const sockets = Array.from({ length: CONNECTIONS }, () => flood.#open())
    await Promise.all(sockets.map(socket => once(socket, 'connect').catch(() => undefined)))
    flood.#clients = sockets.map((socket, n) => flood.#begin(socket, n))
    for (const client of flood.#clients) client.catch(() => undefined)
    return flood
  }

  /** No client reconnects from now on; those that read nothing stay. @throws Fault if the server does not close one that reads */
  async stop(): Promise<void> {
    this.#isOn = false
    await Promise.all(this.#clients)
  }

  /** Closes all connections. */
  end(): void {
    this.#isOn = false
    for (const socket of this.#sockets) socket.destroy()
  }

  async #begin(first: Socket, n: number): Promise<void> {
    const bytes = WRITES[(n >> 1) % WRITES.length] ?? Buffer.alloc(0)
    first.write(bytes)
    // This client reads nothing.
    if (n % 2 === 0) return
    for (let socket = first; this.#isOn; socket = this.#open()) {
      if (socket !== first) socket.write(bytes)
      await within(PATIENCE_MS, closed(socket.resume())).catch(() => {
        throw new Fault(
          `${REQUESTS} requests of one connection, and it is not closed within ${PATIENCE_MS} ms`,
        )
      })
      await delay(PAUSE_MS)
    }
  }

  #open(): Socket {
    const { ports, stranger } = this.world
    const socket = connect({ port: ports.http, host: '127.0.0.1', localAddress: stranger })
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    // The server may have closed the connection: write errors are expected.
    return socket.on('error', () => undefined).pause()
  }
}

async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise<void>(resolve => socket.once('close', () => resolve()))
}
