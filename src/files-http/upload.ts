/** PUT of an announced file: its bytes, exactly as many as were announced. */
import { GatewayError } from '../core/errors.js'
import { badUpload, type Files } from '../files/files.js'
import type { StoredFile } from '../files/rows.js'
import { sendJson } from './answers.js'
import type { Exchange } from './exchange.js'

/** RFC 6750, 2.1. A token in the address would be in the logs of every proxy. */
const BEARER = /^Bearer ([\w-]+)$/i

/** @param request paused @throws GatewayError */
export async function upload(
  files: Files,
  id: string,
  { request, response, pace }: Exchange,
): Promise<StoredFile> {
  const [, token] = BEARER.exec(request.headers.authorization ?? '') ?? []
  if (token === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
  const file = await files.begin(id, token)
  try {
    // A part of it would be taken for the whole (RFC 9110, 14.5).
    for (const name of ['content-range', 'content-encoding'])
      if ((request.headers[name] ?? 'identity') !== 'identity')
        throw new GatewayError('BAD_FIELD', { field: name, reason: 'is not taken' })
    if (request.headers['content-length'] !== String(file.size))
      throw badUpload(`must have ${file.size} bytes`)
    const count = await files.take(file, pace.countUpload(request)).catch(async thrown => {
      await files.breakOff(id)
      throw thrown
    })
    if (count < file.size) {
      await files.breakOff(id)
      throw badUpload('broke off')
    }
    const stored = await pace.while(files.finish(file))
    const { name, size, type, sha256 } = stored
    sendJson(response, 201, { id, name, size, type, sha256 })
    return stored
  } finally {
    files.end(id)
  }
}
