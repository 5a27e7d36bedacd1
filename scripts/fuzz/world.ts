/** The server under test as its clients see it: its addresses, and how to get an account. */
import { on as events, once } from 'node:events'
import { get } from 'node:http'
import { WebSocket } from 'ws'
import { within } from '../within.js'
import { type Account, Fault } from './input.js'

/** A healthy server answers everything within this time, even on a busy machine. */
export const PATIENCE_MS = 10_000

/** Another loopback address of this machine, not exempt from limits; only Linux has it by default. */
const STRANGER = process.platform === 'linux' ? '127.0.0.9' : '127.0.0.1'

const PASSWORD = 'correct horse'

export class World {
  #accounts = 0
  /** An address to which the limits apply. */
  readonly stranger = STRANGER

  /** @param isCounted whether limits apply to this machine, so that connections and requests may be refused */
  constructor(
    readonly ports: { readonly http: number; readonly mqtt: number },
    readonly isCounted: boolean,
  ) {}

  /** @param listen called with the connection before it can receive anything */
  async open(listen: (ws: WebSocket) => void = () => undefined): Promise<WebSocket> {
    const ws = new WebSocket(`ws://127.0.0.1:${this.ports.http}/`)
    ws.on('error', () => undefined)
    listen(ws)
    await within(PATIENCE_MS, once(ws, 'open'))
    return ws
  }

  /** @throws Error if a limit refuses it */
  async register(): Promise<Account> {
    const ws = await this.open()
    const email = `fuzz${++this.#accounts}@example.com`
    const data = { email, password: PASSWORD, firstName: 'F', lastName: 'L' }
    ws.send(JSON.stringify({ type: 'action', action: 'register', id: 'r', data }))
    try {
      const reply = await within(PATIENCE_MS, this.#reply(ws))
      if (reply.code !== 203) throw new Error(`register was answered ${reply.code}`)
      return { id: reply.data.id, email, password: PASSWORD }
    } finally {
      ws.terminate()
    }
  }

  /** Asks for `/readyz` on a new connection, like a load balancer. @throws Fault if the server is not ready */
  async checkReady(): Promise<void> {
    const request = get({ port: this.ports.http, host: '127.0.0.1', path: '/readyz', agent: false })
    try {
      const [response] = await within(PATIENCE_MS, once(request, 'response'))
      response.resume()
      if (response.statusCode !== 200) throw new Error(`answered ${response.statusCode}`)
    } catch (error) {
      request.on('error', () => undefined).destroy()
      throw new Fault(`not ready: ${error instanceof Error ? error.message : error}`)
    }
  }

  /** @throws Fault for a code that reports a failure of the server */
  checkStatus(status: number | undefined): void {
    if (status !== undefined && status >= 500 && !(this.isCounted && status === 503))
      throw new Fault(`answered ${status}`)
  }

  async #reply(ws: WebSocket): Promise<{ code: number; data: { id: string } }> {
    for await (const [data] of on(ws)) {
      const frame = JSON.parse(data.toString())
      if (frame.id === 'r') return frame
    }
    throw new Fault('closed before the reply')
  }
}

const on = (ws: WebSocket) => events(ws, 'message', { close: ['close'] })
