/** Answers of the paths below /files: what they say of a refusal, and the headers of all. */
import type { ServerResponse } from 'node:http'
import { CODES, type GatewayError } from '../core/errors.js'

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

export function sendJson(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    ...HEADERS,
    'Cache-Control': 'no-store',
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
  })
  response.end(text)
}

/** A program reads the number; a person who followed an old link, the words in both languages. */
export function refuse(response: ServerResponse, error: GatewayError): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const { code, 'zh-TW': zh, en, http } = CODES[error.kind]
  if (http === 401) response.setHeader('WWW-Authenticate', 'Bearer')
  if (http === 429 || http === 503) response.setHeader('Retry-After', 10)
  sendJson(response, http, { code, msg: `${zh} / ${en}`, data: error.info })
}
