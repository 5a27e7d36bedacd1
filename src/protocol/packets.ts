/** The form of an encrypted packet, either way (docs/encryption.md). */
import { type Static, Type } from '@sinclair/typebox'
import { GatewayError } from '../core/errors.js'
import { badField, checkFields, compileRules, isRecord, refuseUnknown } from './fields.js'
import { parseTop, type Request, type RequestRules, requestOf } from './requests.js'

const BASE64 = { reason: 'is not base64' }

const PACKET = Type.Object({
  suite: Type.Optional(Type.Union([Type.Literal('aes-256-gcm'), Type.Literal('chacha20-poly1305')])),
  // 32 bytes: an X25519 public key.
  enc: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9+/]{43}=$', ...BASE64 })),
  // 16 bytes at least: a tag. The limits of frames bound it.
  ct: Type.String({ minLength: 24, pattern: '^[A-Za-z0-9+/]+={0,2}$', ...BASE64 }),
})

const packetRules = compileRules({ encrypted: PACKET }).get('encrypted')
const TOP_LEVEL = new Set(['type', 'data'])

/** `name`: tells it from a request. */
export interface Packet {
  readonly name: 'encrypted'
  readonly data: Static<typeof PACKET>
}

/**
 * @param frame one packet or one request as JSON text
 * @throws GatewayError of a packet; RefusedRequest of a request, see `parseRequest`
 */
export function parseFrame(frame: string, rules: RequestRules): Request | Packet {
  const top = parseTop(frame, rules)
  return top.type === 'encrypted' ? packetOf(top, rules) : requestOf(top, rules)
}

function packetOf(top: Record<string, unknown>, { unknownFields }: RequestRules): Packet {
  const { data } = top
  if (!isRecord(data)) throw badField('data', data === undefined ? 'is missing' : 'must be an object')
  if (unknownFields === 'refuse') refuseUnknown(top, TOP_LEVEL)
  if (packetRules === undefined) throw new GatewayError('ERROR')
  checkFields(packetRules, data, unknownFields)
  return { name: 'encrypted', data: data as Packet['data'] }
}

/** @param sealed ciphertext and tag */
export const encodePacket = (sealed: Buffer): string =>
  `{"type":"encrypted","data":{"ct":"${sealed.toString('base64')}"}}`
