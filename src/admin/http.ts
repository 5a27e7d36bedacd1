/** The same requests over HTTP from other machines: who has a token is let in, and no page of a browser is. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { AdminToken } from '../auth/admin-tokens.js'
import { GatewayError } from '../core/errors.js'
import type { Asker } from './ask.js'
import { answerRequests, type RequestOptions } from './requests.js'

export interface AdminHttpOptions extends Pick<RequestOptions, 'ask' | 'onFault'> {
  /** @throws GatewayError ERROR_AUTH for a wrong token, TOO_MANY_ATTEMPTS */
  readonly check: (token: string, remoteAddress: string | undefined) => Promise<AdminToken>
  /** How long a client has for its whole request, ms. */
  readonly requestTimeoutMs: number
}

const MAX_HEADER_BYTES = 8192
const BEARER = /^Bearer ([\w-]{1,256})$/i

/** Headers that browsers send, whatever their page says. */
const OF_BROWSERS = ['origin', 'sec-fetch-site', 'cookie'] as const

/** A form of a page can post without being asked for, but not JSON, and not with a header of its own. */
const JSON_TYPE = /^application\/json(;|$)/i

export class AdminHttp {
  readonly #server: Server
  /** Connections whose request has not come yet, each with its timer. */
  readonly #waiting = new Map<Socket, NodeJS.Timeout>()

  constructor(private readonly options: AdminHttpOptions) {
    const listener = answerRequests({ ...options, admit: request => this.#admit(request) })
    this.#server = createServer({ maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => {
      request.once('end', () => this.#forget(request.socket))
      listener(request, response)
    })
    this.#server.maxRequestsPerSocket = 1
    // A client that breaks off, or does not speak HTTP, is no fault.
    this.#server.on('clientError', (_error, socket) => socket.destroy())
  }

  /** Takes an open connection, after its TLS handshake. */
  take(socket: Socket): void {
    const late = setTimeout(() => socket.destroy(), this.options.requestTimeoutMs).unref()
    this.#waiting.set(socket, late)
    socket.once('close', () => this.#forget(socket))
    this.#server.emit('connection', socket)
  }

  /** Ends connections without a request; the others end with their answer. */
  close(): void {
    for (const socket of [...this.#waiting.keys()]) socket.destroy()
  }

  #forget(socket: Socket): void {
    clearTimeout(this.#waiting.get(socket))
    this.#waiting.delete(socket)
  }

  async #admit({ headers, socket }: IncomingMessage): Promise<Asker> {
    const page = OF_BROWSERS.find(name => headers[name] !== undefined)
    if (page !== undefined) throw new GatewayError('FORBIDDEN', { field: page, reason: 'not for browsers' })
    const [, token] = BEARER.exec(headers.authorization ?? '') ?? []
    if (token === undefined)
      throw new GatewayError('ERROR_AUTH', { field: 'authorization', reason: 'must be Bearer and a token' })
    const { remoteAddress } = socket
    const { name, role } = await this.options.check(token, remoteAddress)
    if (!JSON_TYPE.test(headers['content-type'] ?? ''))
      throw new GatewayError('BAD_FIELD', { field: 'content-type', reason: 'must be application/json' })
    return { operator: { name, role }, remoteAddress }
  }
}
