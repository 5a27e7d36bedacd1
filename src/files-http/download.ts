/** GET and HEAD of a file by its link: whole or a range (RFC 9110, 14), with the headers that keep it harmless. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import contentDisposition from 'content-disposition'
import parseRange from 'range-parser'
import { GatewayError } from '../core/errors.js'
import type { Files } from '../files/files.js'
import type { StoredFile } from '../files/rows.js'
import type { ByteRange } from '../files/storage.js'
import { turnOf } from '../http/ends.js'
import { HEADERS } from './answers.js'
import type { Exchange } from './exchange.js'

/** What a browser may show in a page of its own: it draws these, and runs nothing of them. */
const INLINE: ReadonlySet<string> = new Set(['image/gif', 'image/jpeg', 'image/png', 'image/webp'])

export async function download(
  files: Files,
  file: StoredFile,
  { request, response, socket, pace }: Exchange,
): Promise<number> {
  const etag = `"${file.sha256}"`
  for (const [name, value] of Object.entries({ ...HEADERS, ...headersOf(file, files.limits.linkMs) }))
    response.setHeader(name, value)
  response.setHeader('ETag', etag)
  if (matches(request.headers['if-none-match'], etag)) {
    response.writeHead(304).end()
    return 0
  }
  const range = rangeOf(request, file.size, etag)
  if (range === 'unsatisfiable') {
    response.writeHead(416, { 'Content-Range': `bytes */${file.size}`, 'Content-Length': 0 }).end()
    return 0
  }
  const { start, end } = range ?? { start: 0, end: file.size - 1 }
  const length = end - start + 1
  const head = { 'Content-Length': length }
  // Opened before the status is out: what cannot be read is an error, and no answer that breaks off. Not before the answer may leave:
  // Node.js tells nothing of answers whose turn had not come when their socket closed, and the file would stay open.
  if (!(await turnOf(socket, response))) return 0
  const bytes = await (request.method === 'HEAD' || length === 0
    ? files.checkThere(file)
    : files.read(file, { start, end }))
  if (response.destroyed) {
    bytes?.destroy()
    return 0
  }
  if (range === undefined) response.writeHead(200, head)
  else response.writeHead(206, { ...head, 'Content-Range': `bytes ${start}-${end}/${file.size}` })
  if (bytes === undefined) response.end()
  else await pipeline(bytes, source => pace.count(source), response)
  return bytes === undefined ? 0 : length
}

function headersOf({ name, type }: StoredFile, linkMs: number): Record<string, string> {
  const isInline = INLINE.has(type)
  return {
    'Accept-Ranges': 'bytes',
    'Cache-Control': `private, max-age=${Math.floor(linkMs / 1000)}, immutable`,
    // RFC 6266 with the name in the form of RFC 8187; a name in ASCII alone where it is none.
    'Content-Disposition': contentDisposition(name, { type: isInline ? 'inline' : 'attachment' }),
    'Content-Type': type.startsWith('text/') ? `${type}; charset=utf-8` : type,
  }
}

const ONE_RANGE = /^bytes=(\d*)-(\d*)$/

/** Several ranges get the whole, as any server may answer (RFC 9110, 14.2): nobody makes us read a file a hundred times. */
function rangeOf(
  { headers }: IncomingMessage,
  size: number,
  etag: string,
): ByteRange | 'unsatisfiable' | undefined {
  const { range, 'if-range': ifRange } = headers
  if (range === undefined || (ifRange !== undefined && ifRange !== etag)) return undefined
  // What is no range of bytes is ignored; the package takes one that ends before it begins for one that cannot be (RFC 9110, 14.1.2).
  const [, first = '', last = ''] = ONE_RANGE.exec(range) ?? []
  if (first !== '' && last !== '' && Number(first) > Number(last)) return undefined
  // The last bytes of a file that has fewer: all of it.
  if (first === '' && Number(last) > size && size > 0) return { start: 0, end: size - 1 }
  const found = parseRange(size, range)
  if (found === -1) return 'unsatisfiable'
  const [one, ...more] = found === -2 || found.type !== 'bytes' ? [] : found
  return one !== undefined && more.length === 0 ? { start: one.start, end: one.end } : undefined
}

/** A small picture of an image; it has nothing of the file but pixels. */
export async function thumbnail(files: Files, file: StoredFile, response: ServerResponse): Promise<number> {
  const made = await files.options.thumbnails?.of(file)
  if (made === undefined) throw new GatewayError('NO_FILE')
  const { 'Accept-Ranges': _, ...headers } = headersOf({ ...file, ...made }, files.limits.linkMs)
  response.writeHead(200, { ...HEADERS, ...headers, 'Content-Length': made.bytes.length }).end(made.bytes)
  return made.bytes.length
}

/** If-None-Match (RFC 9110, 13.1.2). */
const matches = (header: string | undefined, etag: string): boolean =>
  header?.split(',').some(one => one.trim() === '*' || one.trim().replace(/^W\//, '') === etag) === true
