/** Content of a message: sender, recipient, number within the pair, and text derived from these. */
import { createHash } from 'node:crypto'

/** Text with JSON escapes, UTF-8 of one to four bytes, combining characters and right-to-left script. */
const PIECES = [
  'a',
  'Z',
  ' ',
  '訊',
  '息',
  '🙂',
  '👩‍👩‍👧',
  '"',
  '\\',
  '\n',
  '\t',
  'é',
  'e\u0301',
  'ש',
  '/',
  '\u2028',
  '{',
  '}',
  '\u007f',
  '#+',
]
const POOL_PIECES = 16_384

const pool: { readonly text: string; readonly offsets: readonly number[] } = makePool()

function makePool() {
  const offsets: number[] = []
  let text = ''
  for (let i = 0; i < POOL_PIECES; i++) {
    offsets.push(text.length)
    text += PIECES[(i * i + (i >>> 3)) % PIECES.length]
  }
  return { text, offsets }
}

/** @param pair `sender:recipient` */
export function contentOf(pair: string, n: number): string {
  const name = `${pair}:${n}`
  const bytes = createHash('md5').update(name).digest()
  const pieces = sizeOf(bytes.readUInt16LE(0) / 0x1_0000, bytes.readUInt16LE(2) / 0x1_0000)
  const begin = bytes.readUInt32LE(4) % (POOL_PIECES - pieces)
  return `${name} ${pool.text.slice(pool.offsets[begin], pool.offsets[begin + pieces])}`
}

/** Lengths: most a line, some a page, a few long. */
function sizeOf(kind: number, size: number): number {
  if (kind < 0.7) return Math.floor(size * 100)
  if (kind < 0.97) return 100 + Math.floor(size * 900)
  return 1000 + Math.floor(size * 5000)
}

/** @returns undefined if it is not a content of the torture */
export function parseContent(content: string): { readonly pair: string; readonly n: number } | undefined {
  const [, pair, n] = /^([^:]+:[^:]+):(\d+) /.exec(content) ?? []
  return pair === undefined || content !== contentOf(pair, Number(n)) ? undefined : { pair, n: Number(n) }
}
