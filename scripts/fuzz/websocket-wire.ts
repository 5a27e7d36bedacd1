/** A minimal WebSocket encoder for invalid frames that a library would not send, and a strict reader. */
import { Fault } from './input.js'

export const KEY = 'AAAAAAAAAAAAAAAAAAAAAA=='
export const HEADERS: readonly (readonly [name: string, value: string])[] = [
  ['Host', 'x'],
  ['Connection', 'Upgrade'],
  ['Upgrade', 'websocket'],
  ['Sec-WebSocket-Key', KEY],
  ['Sec-WebSocket-Version', '13'],
]

export const upgradeRequest = (
  target = '/',
  headers: readonly (readonly [string, string])[] = HEADERS,
  method = 'GET',
  version = 'HTTP/1.1',
): Buffer =>
  Buffer.from(
    `${method} ${target} ${version}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
  )

interface Frame {
  readonly opcode?: number
  readonly isLast?: boolean
  readonly reserved?: number
  readonly isMasked?: boolean
  readonly payload?: Buffer | string
  /** Length in the header, if it differs from the payload's. */
  readonly length?: bigint
}

export const TEXT = 1
export const BINARY = 2
export const CLOSE = 8
export const PING = 9
export const PONG = 10

/** Encodes a frame (RFC 6455, 5.2). The masking key is zero, which is a valid key. */
export function frame({
  opcode = TEXT,
  isLast = true,
  reserved = 0,
  isMasked = true,
  payload = '',
  length,
}: Frame): Buffer {
  const body = Buffer.from(payload)
  const size = length ?? BigInt(body.length)
  const mask = isMasked ? 0x80 : 0
  const head = [(isLast ? 0x80 : 0) | (reserved << 4) | opcode]
  if (size < 126n) return Buffer.concat([Buffer.of(...head, mask | Number(size)), zeros(isMasked), body])
  const long = Buffer.alloc(size < 65_536n ? 2 : 8)
  if (long.length === 2) long.writeUInt16BE(Number(size))
  else long.writeBigUInt64BE(size)
  return Buffer.concat([
    Buffer.of(...head, mask | (long.length === 2 ? 126 : 127)),
    long,
    zeros(isMasked),
    body,
  ])
}

const zeros = (isMasked: boolean) => Buffer.alloc(isMasked ? 4 : 0)

export interface ServerFrame {
  readonly opcode: number
  readonly body: Buffer
}

export const END_OF_HEADERS = '\r\n\r\n'
const FROM_SERVER = new Set([TEXT, BINARY, CLOSE, PING, PONG])

/** All complete frames after the handshake. @throws Fault for a frame that no server may send (RFC 6455, 5.1, 5.2) */
export function readFrames(received: Buffer): ServerFrame[] {
  const frames: ServerFrame[] = []
  let at = received.indexOf(END_OF_HEADERS) + END_OF_HEADERS.length
  while (at + 2 <= received.length) {
    const [first = 0, second = 0] = received.subarray(at)
    const opcode = first & 0x0f
    if ((first & 0xf0) !== 0x80 || !FROM_SERVER.has(opcode) || second > 127)
      throw new Fault('a frame that is none')
    const extra = second === 126 ? 2 : second === 127 ? 8 : 0
    const from = at + 2 + extra
    if (from > received.length) break
    const length =
      extra === 0 ? second : received.readUIntBE(extra === 2 ? at + 2 : at + 4, extra === 2 ? 2 : 6)
    if (from + length > received.length) break
    frames.push({ opcode, body: received.subarray(from, from + length) })
    at = from + length
  }
  return frames
}

const NO_CODE = 1005

/** @returns undefined if there is no close frame */
export function closeCodeOf(frames: readonly ServerFrame[]): number | undefined {
  const close = frames.find(({ opcode }) => opcode === CLOSE)
  if (close === undefined) return undefined
  return close.body.length < 2 ? NO_CODE : close.body.readUInt16BE()
}

/** Status of the first response; undefined if none came, which is correct for half a request. @throws Fault */
export function readStatus(received: Buffer): number | undefined {
  if (received.length === 0) return undefined
  const [, digits] = /^HTTP\/1\.1 ([1-5][0-9][0-9]) [ -~]*\r\n/.exec(received.toString('latin1')) ?? []
  if (digits === undefined) throw new Fault('an answer that is not HTTP')
  return Number(digits)
}
