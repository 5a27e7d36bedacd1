/** Requests of operators over HTTP, by whatever way they come: `POST /v1/<request>`, the fields as JSON. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { CODES, GatewayError, toGatewayError } from '../core/errors.js'
import type { OnFault } from '../core/faults.js'
import { type AdminReply, type Asker, adminReply, type Question } from './ask.js'

export interface RequestOptions {
  /** Says who asks, before the body is read. @throws GatewayError if they may not */
  readonly admit: (request: IncomingMessage) => Asker | Promise<Asker>
  readonly ask: (question: Question) => Promise<AdminReply>
  readonly onFault: OnFault
}

/** A broadcast is the longest request. */
const MAX_BODY_BYTES = 1 << 20
const PREFIX = '/v1/'
/** Until when whoever asks waits for an answer, ms since the epoch: what comes later is not begun. */
export const DEADLINE_HEADER = 'mumi-deadline'

export function answerRequests(options: RequestOptions): RequestListener {
  return (request, response) => {
    answer(options, request).then(
      reply => send(response, reply),
      thrown => {
        // Who breaks off within a request is no fault.
        if (request.complete) options.onFault('admin.request', thrown)
        response.destroy()
      },
    )
  }
}

async function answer(options: RequestOptions, request: IncomingMessage): Promise<AdminReply> {
  let asker: Asker
  try {
    asker = await options.admit(request)
  } catch (thrown) {
    const { kind, info } = toGatewayError(thrown)
    return adminReply(kind, info)
  }
  const { method, url = '' } = request
  if (method !== 'POST' || !url.startsWith(PREFIX))
    return options.ask({ name: '', body: new GatewayError('UNKNOWN_REQUEST'), asker })
  const body = await readBody(request)
  const given = typeof body === 'string' && isLate(request) ? LATE : body
  return options.ask({ name: url.slice(PREFIX.length), body: given, asker })
}

const LATE = new GatewayError('OVERLOADED', { reason: 'nothing was done: who asked has given up' })

/** A process that was stopped, or had much to do, reads requests long after they were sent. */
function isLate({ headers, socket }: IncomingMessage): boolean {
  const deadline = headers[DEADLINE_HEADER]
  return socket.destroyed || (deadline !== undefined && Date.now() > Number(deadline))
}

function send(response: ServerResponse, { code, name, msg, data }: AdminReply): void {
  // One request a connection: what this is for, and nothing stays open at the close.
  response.writeHead(CODES[name].http, {
    'Content-Type': 'application/json; charset=utf-8',
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    Connection: 'close',
    ...(name === 'ERROR_AUTH' && { 'WWW-Authenticate': 'Bearer' }),
  })
  response.end(`${JSON.stringify({ code, msg, data })}\n`)
}

async function readBody(request: IncomingMessage): Promise<string | GatewayError> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request) {
    bytes += part.length
    if (bytes > MAX_BODY_BYTES) return new GatewayError('TOO_LARGE')
    parts.push(part)
  }
  return Buffer.concat(parts).toString()
}
