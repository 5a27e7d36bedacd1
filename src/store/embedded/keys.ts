/**
 * Keys of the embedded store: a tuple of texts and numbers as bytes that sort as the tuple does (part by part, a
 * shorter key before its extensions, numbers before text). Source: the FoundationDB tuple layer.
 *
 * lmdb's own encoding of arrays is not used: text of 64 characters and more that holds U+0000 to U+0004 is written
 * unescaped there and read back cut short, and such text comes from the wire.
 */
import { GatewayError } from '../../core/errors.js'

export type KeyPart = string | number | Uint8Array
export type Key = readonly KeyPart[]

/** As the only or last part: before and behind every other part. For bounds of ranges, never stored. */
export const FIRST = Uint8Array.of(0)
export const LAST = Uint8Array.of(0xff)

const NUMBER = 1
const TEXT = 2
/** Behind the NUL of a text, to tell it from the NUL that ends a text; above both tags, so that order holds. */
const ESCAPE = 0xff

/** lmdb's largest key, bytes, at any page size; beyond it lmdb throws where nobody can catch. */
const MAX_KEY_BYTES = 1978

/** Writes `key` at `start`. @returns where it ends */
export function writeKey(key: Key | Uint8Array, target: Buffer, start: number): number {
  if (key instanceof Uint8Array) return writeBytes(key, target, start)
  let end = start
  for (const part of key) {
    if (typeof part === 'number') end = writeNumber(part, target, end)
    else if (typeof part === 'string') end = writeText(part, target, end)
    else end = writeBytes(part, target, end)
  }
  return end
}

/** The tuple between `start` and `end`. */
export function readKey(source: Buffer, start: number, end: number): (string | number)[] {
  const key: (string | number)[] = []
  let at = start
  while (at < end) {
    if (source[at++] === NUMBER) {
      key.push(readNumber(source, at))
      at += 8
    } else {
      const stop = endOfText(source, at, end)
      key.push(readText(source, at, stop))
      at = stop + 1
    }
  }
  return key
}

/**
 * Checks what lmdb cannot; the types of parts, too, since some come from where no compiler looks.
 * @throws GatewayError TOO_LARGE, BAD_FIELD if it is empty or a part is no part of a key
 */
export function boundedKey<K extends Key | Uint8Array>(key: K): K {
  let most = 0
  if (key instanceof Uint8Array) most = key.length
  else for (const part of key) most += mostBytes(part)
  if (most === 0) throw notAKey('is empty')
  if (most > MAX_KEY_BYTES && exactBytes(key) > MAX_KEY_BYTES) {
    throw new GatewayError('TOO_LARGE', { reason: `a key of the store has at most ${MAX_KEY_BYTES} bytes` })
  }
  return key
}

function mostBytes(part: KeyPart): number {
  if (typeof part === 'string') return part.length * 3 + 2
  if (typeof part === 'number') return 9
  if (part instanceof Uint8Array) return part.length
  throw notAKey(`has a part that is ${part === null ? 'null' : typeof part}`)
}

const notAKey = (what: string) => new GatewayError('BAD_FIELD', { reason: `a key of the store ${what}` })

function exactBytes(key: Key | Uint8Array): number {
  if (key instanceof Uint8Array) return key.length
  let bytes = 0
  for (const part of key) {
    if (typeof part === 'string') bytes += Buffer.byteLength(part) + part.split('\0').length + 1
    else bytes += typeof part === 'number' ? 9 : part.length
  }
  return bytes
}

function writeBytes(bytes: Uint8Array, target: Buffer, start: number): number {
  target.set(bytes, start)
  return start + bytes.length
}

/** IEEE 754, big endian, sign flipped (a negative one: all bits), so that bytes sort as values. */
function writeNumber(value: number, target: Buffer, start: number): number {
  target[start] = NUMBER
  target.writeDoubleBE(value + 0, start + 1)
  flip(target, start + 1, value < 0)
  return start + 9
}

/** Where a number is put together: two of them are read for each message that waits. */
const read = new DataView(new ArrayBuffer(8))

function readNumber(source: Buffer, start: number): number {
  const isNegative = (source[start] ?? 0) < 0x80
  const high = source.readUInt32BE(start)
  const low = source.readUInt32BE(start + 4)
  read.setUint32(0, isNegative ? ~high : high ^ 0x8000_0000)
  read.setUint32(4, isNegative ? ~low : low)
  return read.getFloat64(0)
}

function flip(bytes: Buffer, start: number, negative: boolean): void {
  if (!negative) {
    bytes[start] = (bytes[start] ?? 0) ^ 0x80
    return
  }
  for (let i = start; i < start + 8; i++) bytes[i] = ~(bytes[i] ?? 0)
}

/** UTF-8; half of a surrogate pair as three bytes of its own, so that no two texts share a key. */
function writeText(text: string, target: Buffer, start: number): number {
  let end = start
  target[end++] = TEXT
  for (let i = 0; i < text.length; i++) {
    const code = text.codePointAt(i) ?? 0
    if (code < 0x80) {
      target[end++] = code
      if (code === 0) target[end++] = ESCAPE
    } else if (code < 0x800) {
      target[end++] = 0xc0 | (code >> 6)
      target[end++] = 0x80 | (code & 0x3f)
    } else {
      if (code < 0x10000) target[end++] = 0xe0 | (code >> 12)
      else {
        target[end++] = 0xf0 | (code >> 18)
        target[end++] = 0x80 | ((code >> 12) & 0x3f)
        i++
      }
      target[end++] = 0x80 | ((code >> 6) & 0x3f)
      target[end++] = 0x80 | (code & 0x3f)
    }
  }
  target[end++] = 0
  return end
}

function endOfText(source: Buffer, start: number, end: number): number {
  let stop = source.indexOf(0, start)
  while (stop + 1 < end && source[stop + 1] === ESCAPE) stop = source.indexOf(0, stop + 2)
  return stop
}

function readText(source: Buffer, start: number, stop: number): string {
  return source.toString('utf8', start, stop).replaceAll('\0\ufffd', '\0')
}
