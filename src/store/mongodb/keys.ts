/**
 * Keys of the MongoDB store: a tuple of texts and numbers as one text that sorts as the tuple does, whatever compares
 * it, bytes or UTF-16 units. Text, since `BinData` sorts by length first; without NUL, which not every compatible
 * server takes.
 */

export type TextKey = readonly (string | number)[]

/** Ends a part; below everything that a part can hold, so that a shorter tuple comes before its extensions. */
const END = '\u0001'
/** Four hex digits follow: a character that is END or below, this one, or half of a surrogate pair. */
const ESCAPE = '\u0002'
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is for
const ESCAPED = /[\0-\u0002]|\p{Surrogate}/gu
// biome-ignore lint/suspicious/noControlCharactersInRegex: ESCAPE is one
const AN_ESCAPE = /\u0002([0-9a-f]{4})/g
const NUMBER = '#'
const TEXT = '$'
/** Behind every part. */
const LAST = '%'

export const textKey = (key: TextKey): string => key.map(part => encodePart(part) + END).join('')

/** The range of all keys that begin with `prefix` (whole parts), itself included. */
export const keysUnder = (prefix: TextKey): { $gte: string; $lt: string } => {
  const text = textKey(prefix)
  return { $gte: text, $lt: text + LAST }
}

/** @param skip how many parts to leave out at the front */
export function readTextKey(text: string, skip = 0): (string | number)[] {
  return text.split(END).slice(skip, -1).map(decodePart)
}

function encodePart(part: string | number): string {
  if (typeof part === 'number') return NUMBER + encodeNumber(part)
  return TEXT + part.replace(ESCAPED, one => ESCAPE + hex(one.charCodeAt(0)))
}

function decodePart(part: string): string | number {
  if (part.startsWith(NUMBER)) return decodeNumber(part.slice(1))
  return part.slice(1).replace(AN_ESCAPE, (_, code) => String.fromCharCode(Number.parseInt(code, 16)))
}

const hex = (code: number): string => code.toString(16).padStart(4, '0')

const ALL_BITS = 2n ** 64n - 1n
const SIGN = 2n ** 63n

/** IEEE 754 in 16 hex digits, sign flipped (a negative one: all bits), so that digits sort as values. */
function encodeNumber(value: number): string {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value + 0)
  const bits = bytes.readBigUInt64BE()
  return (value < 0 ? bits ^ ALL_BITS : bits ^ SIGN).toString(16).padStart(16, '0')
}

function decodeNumber(text: string): number {
  const bits = BigInt(`0x${text}`)
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(bits < SIGN ? bits ^ ALL_BITS : bits ^ SIGN)
  return bytes.readDoubleBE()
}

/** Digits that every seq fits in: a million messages a second for 30 years. */
const SEQ_DIGITS = 15
export const MAX_SEQ = 10 ** SEQ_DIGITS - 1

/** The `_id` of a message: its place, so that no two can have one. */
export const rowId = (inbox: string, seq: number): string =>
  `${inbox}:${String(seq).padStart(SEQ_DIGITS, '0')}`

/** The rows of one inbox with a seq above `after`. */
export const rowsBehind = (inbox: string, after: number): { $gt: string; $lt: string } => ({
  $gt: rowId(inbox, Math.max(0, after)),
  $lt: `${inbox};`,
})
