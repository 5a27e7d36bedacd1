/** What the payload and the properties of a PUBLISH say. */
import { isUtf8 } from 'node:buffer'
import { GatewayError } from '../core/errors.js'
import { checkId, parseContent } from '../protocol/mqtt-payload.js'
import type { PublishPacket } from './wire/decode.js'
import { userPropertyOf } from './wire/properties.js'

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
