/** Reads what a client sends: bounded before the first byte is read, whole, in time, and JSON. */
import type { IncomingMessage } from 'node:http'
import { GatewayError } from '../core/errors.js'
import type { Headers } from './headers.js'
import { HttpRefusal } from './problem.js'

const JSON_TYPE = /^application\/json *(; *charset="?utf-8"? *)?$/i
/** RFC 7396: of a change alone. */
const MERGE_PATCH = /^application\/merge-patch\+json *(; *charset="?utf-8"? *)?$/i

/**
 * @param max bytes
 * @returns how many bytes the body has @throws HttpRefusal
 */
export function bodyBytes(request: IncomingMessage, max: number): number {
  const { headers } = request
  // Such a body has no length that could be bounded before it is read; see http/server.ts.
  if (headers['transfer-encoding'] !== undefined)
    throw new HttpRefusal(411, 'content-length', 'is missing: a body in chunks is not taken')
  const bytes = Number(headers['content-length'] ?? 0)
  // Node.js has given up the socket, so nothing more would be read.
  if (bytes > 0 && headers.upgrade !== undefined)
    throw new HttpRefusal(400, 'upgrade', 'is not taken with a body')
  if (bytes > max)
    throw new HttpRefusal(413, 'content-length', `longer than ${max} bytes`, { Connection: 'close' })
  return bytes
}

/** @throws HttpRefusal */
export function checkJsonType({ headers, method }: IncomingMessage): void {
  const type = headers['content-type'] ?? ''
  const isPatch = method === 'PATCH'
  const accept: Headers = isPatch
    ? { 'Accept-Patch': 'application/merge-patch+json, application/json' }
    : { Accept: 'application/json' }
  if (!JSON_TYPE.test(type) && !(isPatch && MERGE_PATCH.test(type)))
    throw new HttpRefusal(415, 'content-type', 'must be application/json', accept)
  if ((headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity')
    throw new HttpRefusal(415, 'content-encoding', 'is not taken', { 'Accept-Encoding': 'identity' })
}

/** @returns the type of a body, one of `types` @throws HttpRefusal */
export function checkType({ headers }: IncomingMessage, types: readonly string[]): string {
  const [type = ''] = (headers['content-type'] ?? '').toLowerCase().split(';')
  if (types.includes(type.trim())) return type.trim()
  const all = types.join(', ')
  throw new HttpRefusal(415, 'content-type', `must be one of ${all}`, { Accept: all })
}

/** @throws GatewayError BAD_JSON */
export function decodeText(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch {
    throw new GatewayError('BAD_JSON', { reason: 'not UTF-8' })
  }
}

/**
 * A body whose length was checked. The request is paused.
 * @throws HttpRefusal if it does not come in time, GatewayError ERROR_CONNECTION_CLOSED
 */
export function readBody(request: IncomingMessage, timeoutMs: number): Promise<Buffer> {
  const pieces: Buffer[] = []
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      request.removeAllListeners('data').pause()
      reject(new HttpRefusal(408, 'body', 'did not come in time', { Connection: 'close' }))
    }, timeoutMs).unref()
    request.on('data', (piece: Buffer) => void pieces.push(piece))
    request.once('end', () => {
      clearTimeout(late)
      resolve(Buffer.concat(pieces))
    })
    request.once('close', () => {
      clearTimeout(late)
      reject(new GatewayError('ERROR_CONNECTION_CLOSED'))
    })
    request.resume()
  })
}
