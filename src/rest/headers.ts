/** Headers that are the same for every operation: which pages may ask, which form is asked for, which answer is known. */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Origins } from './given.js'
import { HttpRefusal } from './problem.js'

export type Headers = Readonly<Record<string, string>>

/** Of every answer. */
export const COMMON: Headers = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
}

const TAKES = 'Authorization, Content-Type, Accept-Language, If-Match, If-None-Match, Idempotency-Key'

/**
 * What lets a page read the answer (CORS). There are no cookies, so a page has nobody's rights but those of the token that it has.
 * @throws HttpRefusal for a page that `http.origins` does not name
 */
export function crossOrigin({ origin }: IncomingHttpHeaders, { isOrigin, isOpen }: Origins): Headers {
  const vary = { Vary: 'Origin, Accept-Language' }
  if (origin === undefined) return vary
  if (!isOrigin(origin)) throw new HttpRefusal(403, 'origin', 'is not in http.origins', vary)
  const exposed = 'ETag, Link, Retry-After, WWW-Authenticate'
  return {
    ...vary,
    'Access-Control-Allow-Origin': isOpen ? '*' : origin,
    'Access-Control-Expose-Headers': exposed,
  }
}

/** @param methods of the path, `GET, HEAD` @returns the answer to OPTIONS, also to the question of a browser before a request */
export function optionsHeaders(headers: IncomingHttpHeaders, methods: string): Headers {
  // Also where it is no preflight: a cache must not take one answer for the other.
  const vary = { Vary: 'Origin, Access-Control-Request-Method' }
  if (headers['access-control-request-method'] === undefined) return { Allow: methods, ...vary }
  return {
    Allow: methods,
    ...vary,
    'Access-Control-Allow-Methods': methods,
    'Access-Control-Allow-Headers': TAKES,
    'Access-Control-Max-Age': '600',
  }
}

/** The types of an answer that are accepted, from the special to the general (RFC 9110, 12.5.1). */
const ACCEPTED = ['application/problem+json', 'application/json', 'application/*', '*/*']

/** @throws HttpRefusal 406 for a client that takes no JSON */
export function checkAccept({ accept }: IncomingHttpHeaders): void {
  if (accept === undefined || accept.trim() === '') return
  const ranges = accept.split(',').map(range => range.toLowerCase().replaceAll(' ', '').split(';'))
  const isTaken = ([type = '', ...parameters]: string[]) =>
    ACCEPTED.includes(type) && !parameters.some(one => /^q=0(\.0*)?$/.test(one))
  if (!ranges.some(isTaken)) throw new HttpRefusal(406, 'accept', 'answers are application/json')
}

/** A strong one: of all bytes. */
export const etagOf = (body: string): string =>
  `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`

/** Whether a list of entity tags names this one (RFC 9110, 13.1). `If-None-Match` compares weakly. */
export function namesTag(list: string, etag: string, isWeak: boolean): boolean {
  if (list.trim() === '*') return true
  const tags = list.split(',').map(tag => tag.trim())
  return tags.some(tag => tag === etag || (isWeak && tag === `W/${etag}`))
}
