/** What browsers post, and whether a page of ours sent it. */
import { createHmac, randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isSame } from '../auth/secrets.js'

/** All fields of the longest form, with every character as `%XX`. */
export const MAX_FORM_BYTES = 16_384

/**
 * @returns undefined if it is no form, is too long or has no length, or the client closed before its end: it was not whole.
 * Call it in the turn in which the request came.
 */
export async function readForm(request: IncomingMessage): Promise<URLSearchParams | undefined> {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';', 1)
  const length = Number(request.headers['content-length'])
  if (type.trim().toLowerCase() !== 'application/x-www-form-urlencoded') return undefined
  if (!(length <= MAX_FORM_BYTES)) return undefined
  const pieces: Buffer[] = []
  request.on('data', (piece: Buffer) => void pieces.push(piece))
  return new Promise(resolve => {
    request.once('end', () => resolve(new URLSearchParams(Buffer.concat(pieces).toString())))
    request.once('close', () => resolve(undefined))
  })
}

/** Whether the browser says that another website's page sent the form (Fetch Metadata). Not all browsers say it everywhere. */
export function isFromElsewhere({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site']
  return site === 'cross-site' || site === 'same-site'
}

/** How long a page with a form may be open, ms. */
const LIFETIME_MS = 3_600_000

/**
 * A mark of forms by which anybody could be sent mail: another website's page, with a visitor's address, would have no part in
 * the limits of that website. `Origin` does not tell, since browsers write `null` there on pages with `no-referrer`. The mark
 * is good for the address that opened the page, so that nobody can open one for somebody else; no cookie is needed.
 */
export class FormMarks {
  /** Of this process: after a restart an open page must be sent again. */
  readonly #key = randomBytes(32)

  make(address: string | undefined, now = Date.now()): string {
    const until = String(now + LIFETIME_MS)
    return `${until}.${this.#sign(until, address)}`
  }

  isGood(mark: string, address: string | undefined, now = Date.now()): boolean {
    const [until = '', signature = ''] = mark.split('.')
    return Number(until) > now && isSame(signature, this.#sign(until, address))
  }

  #sign(until: string, address = ''): string {
    return createHmac('sha256', this.#key).update(`${until} ${address}`).digest('base64url')
  }
}
