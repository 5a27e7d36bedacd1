/** Values that have broken other servers. */
import type { Random } from '../random.js'

const LONG = 5_000
/** Longer than any field may be, and shorter than `limits.frame`. */
const VERY_LONG = 100_000

/** Values for names, ids and topic levels. */
export const HOSTILE_NAMES: readonly string[] = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '../',
  '../../etc/passwd',
  '..\\..\\',
  '/',
  '//',
  '+',
  '#',
  '+/#',
  '$SYS/#',
  '$share/g/#',
  '%u',
  '%c',
  '%00',
  '\0',
  'a\0b',
  '\u202egnp.exe',
  '\u2066a\u2069',
  'a\u200bb',
  '\u200d',
  '\ufeffa',
  '漢字',
  'ｆｕｌｌ',
  '😀',
  '👩‍👩‍👧‍👦',
  'e\u0301',
  'é',
  'İ',
  'ß',
  'ﬁ',
  '12',
  '123',
  '012345678',
  '1234567890',
  '1e9',
  '-1',
  'null',
  'undefined',
  'true',
  '{}',
  '[]',
  '{"$gt":""}',
  "' OR 1=1 --",
  '\r\nSet-Cookie: a=b',
  '\u2028',
  '\x1b[2J',
  '\x7f',
  ' ',
  ' a ',
  'a:b',
  'a b',
]

const SURROGATES = ['\ud800', '\udc00a', 'a\ud83d', '\ude00\ud83d']

export function hostileText(random: Random): string {
  if (random.chance(0.1)) return random.pick(SURROGATES)
  if (random.chance(0.1)) return random.pick(['', 'a'.repeat(LONG), '漢'.repeat(LONG), '😀'.repeat(LONG)])
  if (random.chance(0.01)) return 'x'.repeat(VERY_LONG)
  const count = 1 + Math.floor(random.next() ** 3 * 4)
  return Array.from({ length: count }, () => random.pick(HOSTILE_NAMES)).join('')
}

/** A literal that `JSON.stringify` would not write; see `writeJson`. */
const literal = (text: string): string => `\u0001${text}\u0001`
const LITERALS = ['1e400', '-1e400', '-0', '1e-400', '123456789012345678901234567890', '0.1e1', '"\\ud800"']

/** A random JSON value of any depth. */
export function hostileValue(random: Random): unknown {
  return random.pick<() => unknown>([
    () => hostileText(random),
    () => hostileText(random),
    () => random.pick([0, -1, 0.5, 1e21, 2 ** 53, -(2 ** 31), Number.MIN_VALUE]),
    () => literal(random.pick(LITERALS)),
    () => random.pick([null, true, false]),
    () => [],
    () => ({}),
    () => Array.from({ length: 1 + Math.floor(random.next() * 40) }, () => hostileText(random)),
    () => withKey({}, hostileText(random), hostileText(random)),
    () => JSON.parse('{"__proto__":{"isAdmin":true},"constructor":{"prototype":{}}}'),
    () => nested(random),
  ])()
}

/** Depths near the limit, or far beyond the size of a stack. */
function nested(random: Random): unknown {
  const depth = random.chance(0.9) ? Math.floor(random.next() * 12) : 20_000
  const isArray = random.chance(0.5)
  return literal(
    isArray ? `${'['.repeat(depth)}1${']'.repeat(depth)}` : `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`,
  )
}

/** Sets an own property, even if the key is `__proto__`. */
export function withKey(object: object, key: string, value: unknown): object {
  return Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true })
}

export const writeJson = (value: unknown, space?: number): string =>
  JSON.stringify(value, undefined, space).replace(/"\\u0001(.*?)\\u0001"/gs, (_, text: string) =>
    text.replaceAll('\\"', '"').replaceAll('\\\\', '\\'),
  )

/** Changes one to four places: flips, inserts, deletes, doubles, swaps or cuts off bytes. */
export function mutate(random: Random, bytes: Buffer): Buffer {
  let result = bytes
  for (let left = 1 + Math.floor(random.next() * 4); left > 0; left--) result = mutateOnce(random, result)
  return result
}

const INTERESTING = [0x00, 0x01, 0x7f, 0x80, 0x81, 0xc0, 0xed, 0xfe, 0xff]

function mutateOnce(random: Random, bytes: Buffer): Buffer {
  const at = Math.floor(random.next() * (bytes.length + 1))
  const length = Math.floor(random.wait(4))
  const part = bytes.subarray(at, at + length)
  const byte = random.chance(0.5) ? random.pick(INTERESTING) : Math.floor(random.next() * 256)
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at + 1)]
  return random.pick<() => Buffer>([
    () => Buffer.concat([before, Buffer.of((bytes[at] ?? 0) ^ (1 << Math.floor(random.next() * 8))), after]),
    () => Buffer.concat([before, Buffer.of(byte), after]),
    () => Buffer.concat([before, Buffer.of(byte), bytes.subarray(at)]),
    () => Buffer.concat([before, bytes.subarray(at + length)]),
    () => Buffer.concat([before, part, part, bytes.subarray(at + length)]),
    () => Buffer.concat([before, Buffer.from(part).reverse(), bytes.subarray(at + length)]),
    () => before,
  ])()
}

/** Splits bytes: not at all, in a few places, or byte by byte. */
export function split(random: Random, bytes: Buffer): Buffer[] {
  if (random.chance(0.5)) return [bytes]
  const isDust = random.chance(0.1) && bytes.length <= 200
  const cuts = isDust
    ? bytes.keys()
    : Array.from({ length: 1 + Math.floor(random.wait(2)) }, () =>
        Math.floor(random.next() * bytes.length),
      ).sort((a, b) => a - b)
  const pieces: Buffer[] = []
  let from = 0
  for (const cut of [...cuts, bytes.length]) {
    if (cut > from) pieces.push(bytes.subarray(from, cut))
    from = cut
  }
  return pieces
}
