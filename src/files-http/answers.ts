/** Answers of the paths below /files: what they say of a refusal, and the headers of all. */
import type { ServerResponse } from 'node:http'
import { CODES, type GatewayError, retryAfter } from '../core/errors.js'
import type { Exchange } from './exchange.js'

/**
 * Of every answer. The link is in the address of the page that a browser makes of a file, so that no other site may be told
 * of it; nothing in a file is run, even if a browser were to show it; no search engine keeps it.
 */
export const HEADERS = {
  'Content-Security-Policy': "sandbox; default-src 'none'",
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Robots-Tag': 'noindex',
} as const

/** Over a limit, not now, no room: `Retry-After` is in the answer. */
const LATER: ReadonlySet<number> = new Set([429, 503, 507])

/** How long a client that is still sending may take to notice that it is refused, ms. */
const LINGER_MS = 2000

export function sendJson(response: ServerResponse, status: number, body: object): void {
  writeJson(response, status, body)
  response.end()
}

function writeJson(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    ...HEADERS,
    'Cache-Control': 'no-store',
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
  })
  response.write(text)
}

/** Of an upload that finds no room: 507 (RFC 4918, 11.5). */
export const statusOf = ({ kind }: GatewayError): number => (kind === 'STORE_FULL' ? 507 : CODES[kind].http)

/** When to come back, if it is worth it. */
export function tellRetry(response: ServerResponse, error: GatewayError): void {
  if (LATER.has(statusOf(error))) response.setHeader('Retry-After', retryAfter(error))
}

/** A program reads the number; a person who followed an old link, the words in both languages. */
export function refuse(response: ServerResponse, error: GatewayError): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  refuseOpen(response, error)
  response.end()
}

function refuseOpen(response: ServerResponse, error: GatewayError): void {
  const { code, 'zh-TW': zh, en } = CODES[error.kind]
  const http = statusOf(error)
  if (http === 401) response.setHeader('WWW-Authenticate', 'Bearer')
  tellRetry(response, error)
  writeJson(response, http, { code, msg: `${zh} / ${en}`, data: error.info })
}

/**
 * Refuses before the whole body came, and closes the connection. Where some of it was read, what comes is dropped for a while: a client
 * loses an answer with a connection that is closed while it sends (RFC 9112, 9.6).
 */
export function refuseUnread(
  { request, response, socket }: Omit<Exchange, 'pace'>,
  error: GatewayError,
): void {
  response.shouldKeepAlive = false
  response.once('finish', () => socket.destroySoon())
  if (response.headersSent || !request.readableDidRead) {
    refuse(response, error)
    return
  }
  refuseOpen(response, error)
  const timer = setTimeout(() => response.end(), LINGER_MS).unref()
  request.once('close', () => {
    clearTimeout(timer)
    response.end()
  })
  request.once('end', () => response.end())
  request.resume()
}
