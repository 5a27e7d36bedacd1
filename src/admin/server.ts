/** The admin socket: HTTP over a Unix socket, for the user that the gateway runs as. `POST /v1/<request>`, fields as JSON. */
import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { CODES, type CodeName } from '../core/errors.js'
import type { OnFault } from '../core/faults.js'
import { type AdminReply, adminReply } from './ask.js'

export interface AdminServerOptions {
  /** Of the socket; see `socketPath`. */
  readonly path: string
  readonly ask: (name: string, body: string) => Promise<AdminReply>
  readonly onFault: OnFault
}

/** A broadcast is the longest request. */
const MAX_BODY_BYTES = 1 << 20
const PREFIX = '/v1/'
const STATUS: ReadonlyMap<CodeName, number> = new Map([
  ['SUCCESS', 200],
  ['UNKNOWN_REQUEST', 404],
  ['ERROR_FIND_USER', 404],
  ['ERROR_EXIST_USER', 409],
  ['FORBIDDEN', 403],
  ['TOO_LARGE', 413],
  ['ERROR', 500],
])

/** HTTP's status for a reply. Who retries by status alone does right. */
export const statusOf = (name: CodeName): number => STATUS.get(name) ?? (CODES[name].retry ? 503 : 400)

export class AdminServer {
  readonly #server: Server
  #isListening = false

  constructor(private readonly options: AdminServerOptions) {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(thrown => {
        options.onFault('admin.request', thrown)
        response.destroy()
      })
    })
    // A client that breaks off is no fault.
    this.#server.on('clientError', (_error, socket) => socket.destroy())
  }

  /**
   * A socket that an ended process left behind is replaced.
   * @throws the system's error; EADDRINUSE if another process answers there
   */
  async listen(): Promise<void> {
    const { path } = this.options
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    if (await isAnswered(path)) throw Object.assign(new Error(`${path} is in use`), { code: 'EADDRINUSE' })
    rmSync(path, { force: true })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject).listen(path, resolve)
    })
    this.#isListening = true
    // The umask of the process has done it, unless somebody else started the server.
    chmodSync(path, 0o600)
  }

  /** Resolves when no request is under way. The socket is removed. */
  async close(): Promise<void> {
    if (!this.#isListening) return
    this.#isListening = false
    await new Promise(resolve => {
      this.#server.close(resolve)
      this.#server.closeIdleConnections()
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url = '' } = request
    if (method !== 'POST' || !url.startsWith(PREFIX))
      return send(response, 404, adminReply('UNKNOWN_REQUEST'))
    const body = await readBody(request)
    if (body === undefined) return send(response, 413, adminReply('TOO_LARGE'))
    const reply = await this.options.ask(url.slice(PREFIX.length), body)
    send(response, statusOf(reply.name), reply)
  }
}

function send(response: ServerResponse, status: number, { code, msg, data }: AdminReply): void {
  // One request a connection: what the socket is for, and nothing stays open at the close.
  response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8', Connection: 'close' })
  response.end(`${JSON.stringify({ code, msg, data })}\n`)
}

/** @returns undefined if it is too long */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request) {
    bytes += part.length
    if (bytes > MAX_BODY_BYTES) return undefined
    parts.push(part)
  }
  return Buffer.concat(parts).toString()
}

/** Whether a process listens on this socket. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true)).once('error', () => end(false))
  })
}
