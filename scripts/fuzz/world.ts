/** What the server under test is to its clients: where it is, and how to get an account. */
import { on as events, once } from 'node:events'
import { get } from 'node:http'
import { WebSocket } from 'ws'
import { within } from '../within.js'
import { type Account, Fault } from './input.js'

/** Nothing that is asked of a healthy server takes so long, on a machine that has other things to do, too. */
export const PATIENCE_MS = 10_000

/** Of this machine, too, and without its exemptions; others than Linux have no such address as it comes. */
const STRANGER = process.platform === 'linux' ? '127.0.0.9' : '127.0.0.1'

const PASSWORD = 'correct horse'

export class World {
  #accounts = 0
  /** An address whose connections and requests have limits. */
  readonly stranger = STRANGER

  /** @param isCounted whether this machine's connections and requests have limits: then they may be refused */
  constructor(
    readonly ports: { readonly http: number; readonly mqtt: number },
    readonly isCounted: boolean,
  ) {}

  /** @param listen gets it before anything can come */
  async open(listen: (ws: WebSocket) => void = () => undefined): Promise<WebSocket> {
    const ws = new WebSocket(`ws://127.0.0.1:${this.ports.http}/`)
    ws.on('error', () => undefined)
    listen(ws)
    await within(PATIENCE_MS, once(ws, 'open'))
    return ws
  }

  /** @throws where a limit forbids it */
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

  /** What a balancer asks, on a connection of its own. @throws Fault where it would send nobody here */
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

  /** @throws Fault for one that says that something failed on our side */
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
