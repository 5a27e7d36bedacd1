/** Refusals as problem details (RFC 9457), each from its row in the table of codes. */
import { CODES, type CodeName, GatewayError, type Locale, retryAfter } from '../core/errors.js'
import type { Problem } from '../protocol/rest.js'

/** A refusal that the door has logged and counted. */
export class Refused extends Error {
  constructor(readonly error: GatewayError) {
    super(error.message)
  }
}

/** A refusal that HTTP has a status of its own for. */
export class HttpRefusal extends GatewayError {
  constructor(
    readonly status: number,
    field: string,
    reason: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(status === 404 || status === 405 ? 'UNKNOWN_REQUEST' : status === 413 ? 'TOO_LARGE' : 'BAD_FIELD', {
      field,
      reason,
    })
  }
}

export interface Answered {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Problem
}

/** A wrong or missing secret in the body, as far as there is a token that is good. */
const OF_SECRETS: ReadonlySet<CodeName> = new Set<CodeName>(['ERROR_AUTH', 'SECOND_FACTOR_REQUIRED'])

const OF_TOKENS: ReadonlySet<string | undefined> = new Set(['authorization', 'token'])

/**
 * @param isKnown whether a token said who asks: then a wrong password in the body is no reason to log in anew (RFC 9110, 15.5.2)
 */
export function problemOf(error: GatewayError, locale: Locale, isKnown: boolean): Answered {
  const { kind, info } = error
  const row = CODES[kind]
  const own = error instanceof HttpRefusal ? error : undefined
  const status = own?.status ?? (isKnown && OF_SECRETS.has(kind) ? 403 : row.http)
  const body: Problem = {
    type: `/api#code-${row.code}`,
    title: row[locale],
    status,
    ...(info?.reason !== undefined && { detail: info.reason }),
    code: row.code,
    ...(info?.field !== undefined && { field: info.field }),
    retry: row.retry,
  }
  return { status, headers: { ...own?.headers, ...headersOf(status, error) }, body }
}

function headersOf(status: number, error: GatewayError): Record<string, string> {
  const { kind, info } = error
  // RFC 6750, 3: the reason is told only where a token was given.
  if (status === 401)
    return {
      'WWW-Authenticate':
        kind === 'ERROR_AUTH' && OF_TOKENS.has(info?.field) ? 'Bearer error="invalid_token"' : 'Bearer',
    }
  if (status === 429 || status === 503) return { 'Retry-After': String(retryAfter(error)) }
  return {}
}
