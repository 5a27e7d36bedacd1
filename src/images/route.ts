/** Serves pictures of accounts. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isRead, pathOf, type Route, send } from '../http/answers.js'
import { imageNameIn, type ProfileImages, type StoredImage } from './profile-images.js'

/**
 * What an address shows never changes, so it is kept as long as a browser likes. Nothing of it is run even if a browser takes it
 * for a page; any site may show it.
 */
const HEADERS = {
  'Cache-Control': 'public, max-age=31536000, immutable',
  'Content-Security-Policy': "default-src 'none'; sandbox",
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'X-Content-Type-Options': 'nosniff',
} as const

/** @param onFailed told why the store could not be asked */
export function imagesRoute(images: Pick<ProfileImages, 'find'>, onFailed: (thrown: unknown) => void): Route {
  return (request, response) => {
    const name = imageNameIn(pathOf(request))
    if (name === undefined || !isRead(request)) return false
    void images.find(name).then(
      found => answer(request, response, name, found),
      thrown => {
        onFailed(thrown)
        response.setHeader('Retry-After', 10)
        send(response, 503, 'text/plain', 'try again later\n')
      },
    )
    return true
  }
}

function answer(
  { headers, method }: IncomingMessage,
  response: ServerResponse,
  name: string,
  found: StoredImage | undefined,
): void {
  if (found === undefined) {
    send(response, 404, 'text/plain', 'not found\n')
    return
  }
  const etag = `"${name}"`
  const known = headers['if-none-match']?.split(',').map(tag => tag.trim().replace(/^W\//, ''))
  const isKnown = known?.some(tag => tag === etag || tag === '*') === true
  const { type, bytes } = found
  const length = isKnown ? {} : { 'Content-Type': type, 'Content-Length': bytes.length }
  response.writeHead(isKnown ? 304 : 200, { ...HEADERS, ETag: etag, ...length })
  response.end(isKnown || method === 'HEAD' ? undefined : bytes)
}
