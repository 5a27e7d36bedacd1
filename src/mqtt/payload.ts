/** What the payload and the properties of a PUBLISH to `users/<id>/…` say. */
import { isUtf8 } from 'node:buffer'
import { GatewayError } from '../core/errors.js'
import { isTooManyValues } from '../protocol/json-size.js'
import type { PublishPacket } from './wire/decode.js'
import { userPropertyOf } from './wire/properties.js'

/** Characters of an id, as of a JSON request's. */
const MAX_ID_LENGTH = 64
/** The two members `content` and `id`. */
const MAX_VALUES = 2

const NOT_UTF8 = { field: 'payload', reason: 'is not UTF-8, as its payload format indicator says' }

/** @returns why the payload is not what the packet says of it (MQTT 5, 3.3.2.3.2) */
export const payloadFault = ({ properties, payload }: PublishPacket): GatewayError | undefined =>
  properties?.payloadFormatIndicator !== 1 || isUtf8(payload)
    ? undefined
    : new GatewayError('BAD_FIELD', NOT_UTF8)

/**
 * Of a message to an inbox.
 * @returns also by which key a repeat of it is known: a member of the payload, or the user property `id`
 * @throws GatewayError BAD_FIELD
 */
export function contentOf(
  { payload, block }: PublishPacket,
  format: 'text' | 'json',
): { readonly content: string; readonly key: string | undefined } {
  const { content, id } = parseContent(payload, format)
  const named = block?.length ? userPropertyOf(block, 'id') : undefined
  return { content, key: id ?? (named === undefined ? undefined : checkId(named)) }
}

/** When the message expires, ms since the epoch; undefined: it does not. */
export function expiresAt({ properties }: PublishPacket): number | undefined {
  const seconds = properties?.messageExpiryInterval
  return seconds === undefined ? undefined : Date.now() + seconds * 1000
}

/** The client's place in a trace of its own (W3C Trace Context), unchecked. */
export const traceParentOf = ({ block }: PublishPacket): string | undefined =>
  block?.length ? userPropertyOf(block, 'traceparent') : undefined

/** @throws GatewayError BAD_FIELD {field: 'id'} unless the user property `id` of a PUBLISH can be an id */
function checkId(id: string): string {
  if (isId(id) && id.isWellFormed()) return id
  throw new GatewayError('BAD_FIELD', { field: 'id', reason: `must be 1 to ${MAX_ID_LENGTH} characters` })
}

const isId = (id: unknown): id is string =>
  typeof id === 'string' && id.length > 0 && id.length <= MAX_ID_LENGTH

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
export function parseContent(payload: string | Buffer, format: 'text' | 'json'): Message {
  const text = decodeText(payload)
  if (format === 'text') return { content: text }
  if (isTooManyValues(text, MAX_VALUES)) throw bad('must be {"content": string, "id"?: string}')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw bad('is not JSON')
  }
  if (!isMessage(value)) throw bad('must be {"content": string, "id"?: string}')
  // A lone surrogate has no UTF-8 form (RFC 3629): it could be stored but not sent, and two ids could share one key.
  if (![value.content, value.id ?? ''].every(text => text.isWellFormed()))
    throw bad('is not well-formed Unicode')
  return value
}

interface Message {
  readonly content: string
  readonly id?: string
}

function isMessage(value: unknown): value is Message {
  if (typeof value !== 'object' || value === null) return false
  const { content, id, ...others } = value as Record<string, unknown>
  const hasId = 'id' in value
  return typeof content === 'string' && (!hasId || isId(id)) && Object.keys(others).length === 0
}
