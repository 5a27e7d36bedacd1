/** Parses the payload of a PUBLISH to `users/<id>/inbox`: content, and optionally an id. */
import { isUtf8 } from 'node:buffer'
import { Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { GatewayError } from '../core/errors.js'
import { isTooManyValues } from './json-size.js'

/** Characters of an id, as of a JSON request's. */
const MAX_ID_LENGTH = 64

const json = TypeCompiler.Compile(
  Type.Object(
    { content: Type.String(), id: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_ID_LENGTH })) },
    { additionalProperties: false },
  ),
)

/** The two members `content` and `id`. */
const MAX_VALUES = 2

/** @throws GatewayError BAD_FIELD {field: 'id'} unless the user property `id` of a PUBLISH can be an id */
export function checkId(id: string): string {
  if (id.length > 0 && id.length <= MAX_ID_LENGTH && id.isWellFormed()) return id
  throw new GatewayError('BAD_FIELD', { field: 'id', reason: `must be 1 to ${MAX_ID_LENGTH} characters` })
}

const bad = (reason: string) => new GatewayError('BAD_FIELD', { field: 'payload', reason })

/**
 * @throws GatewayError BAD_FIELD {field: 'payload'} if it is not UTF-8. It is not repaired with U+FFFD, which would
 *   change the message
 */
export function decodeText(payload: string | Buffer): string {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
  if (!isUtf8(bytes)) throw bad('is not UTF-8')
  return bytes.toString()
}

/** @throws GatewayError BAD_FIELD {field: 'payload'} */
export function parseContent(
  payload: string | Buffer,
  format: 'text' | 'json',
): { content: string; id?: string } {
  const text = decodeText(payload)
  if (format === 'text') return { content: text }
  if (isTooManyValues(text, MAX_VALUES)) throw bad('must be {"content": string, "id"?: string}')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw bad('is not JSON')
  }
  if (!json.Check(value)) throw bad('must be {"content": string, "id"?: string}')
  // A lone surrogate has no UTF-8 form (RFC 3629): it could be stored but not sent, and two ids could share one key.
  if (![value.content, value.id ?? ''].every(text => text.isWellFormed()))
    throw bad('is not well-formed Unicode')
  return value
}
