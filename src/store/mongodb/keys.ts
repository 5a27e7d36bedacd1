/**
 * Keys of the MongoDB store: a tuple of texts and numbers becomes one text that sorts like the tuple, whether a server
 * compares bytes or UTF-16 units. Not `BinData`, which sorts by length first. Without NUL, which not every compatible
 * server accepts.
 */

export type TextKey = readonly (string | number)[]

/** Ends a part. It sorts below everything that a part can hold, so that a tuple comes before its extensions. */
const END = '\u0001'
/** Followed by four hex digits. It escapes END, itself, all lower characters, and each half of a surrogate pair. */
const ESCAPE = '\u0002'
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is for
const ESCAPED = /[\0-\u0002]|\p{Surrogate}/gu
// biome-ignore lint/suspicious/noControlCharactersInRegex: ESCAPE is one
const AN_ESCAPE = /\u0002([0-9a-f]{4})/g
const NUMBER = '#'
const TEXT = '$'
/** Sorts above every part. */
const LAST = '%'

export const textKey = (key: TextKey): string => key.map(part => encodePart(part) + END).join('')

/** The range of all keys that begin with the whole parts of `prefix`, including `prefix` itself. */
export const keysUnder = (prefix: TextKey): { $gte: string; $lt: string } => {
  const text = textKey(prefix)
  return { $gte: text, $lt: text + LAST }
}

/** @param skip how many leading parts to omit */
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

/**
 * IEEE 754 in 16 hex digits with the sign bit flipped (all bits if negative), so that the digits sort like the values.
 */
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

/** Enough digits for every seq: a million messages a second for 30 years. */
const SEQ_DIGITS = 15
export const MAX_SEQ = 10 ** SEQ_DIGITS - 1

/** The `_id` of a message. It is the position, so that no two messages can have the same. */
export const rowId = (inbox: string, seq: number): string =>
  `${inbox}:${String(seq).padStart(SEQ_DIGITS, '0')}`

/** The filter for rows of one inbox with a seq above `after`. */
export const rowsBehind = (inbox: string, after: number): { $gt: string; $lt: string } => ({
  $gt: rowId(inbox, Math.max(0, after)),
  $lt: `${inbox};`,
})
