/** The paths below /files: PUT of an announced file, GET of a link. Who may is in the tokens; no login is needed. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { CODES, toGatewayError } from '../core/errors.js'
import type { OnFault } from '../core/faults.js'
import type { Logger } from '../core/log.js'
import type { Metrics } from '../core/metrics.js'
import type { Files } from '../files/files.js'
import { isRead, pathOf, type Route } from '../http/answers.js'
import { refuse, refuseUnread } from './answers.js'
import { download, thumbnail } from './download.js'
import type { Exchange } from './exchange.js'
import { Pace } from './pace.js'
import { upload } from './upload.js'

export interface FilesRouteOptions {
  readonly files: Files
  readonly metrics: Pick<Metrics, 'fileUploads' | 'fileBytes'>
  readonly log: Logger
  readonly onFault: OnFault
  /** How long an upload or download may move hardly at all, ms. */
  readonly stallMs: number
  /** Whether pages of this origin may read what we answer. */
  readonly isOrigin: (origin: string) => boolean
}

const ROOT = '/files/'
const METHODS = 'GET, HEAD, PUT, OPTIONS'

export function filesRoute(options: FilesRouteOptions): Route {
  return (request, response, _address, wait = () => undefined) => {
    const path = pathOf(request)
    if (!path.startsWith(ROOT)) return false
    const [id = '', token, form, ...more] = path.slice(ROOT.length).split('/')
    allowOrigin(options, request, response)
    const { socket } = request
    const exchange = { request, response, socket, pace: new Pace(wait, options.stallMs) }
    if (request.method === 'PUT' && token === undefined) {
      // Its bytes wait until the file is looked up.
      request.pause()
      serve(options, exchange, () => put(options, id, exchange))
    } else if (isRead(request) && token !== undefined && isForm(form) && more.length === 0)
      serve(options, exchange, () => get(options, { id, token, isSmall: form !== undefined }, exchange))
    else if (request.method === 'OPTIONS') response.writeHead(204, { Allow: METHODS }).end()
    else if (isRead(request) || request.method === 'PUT')
      response.writeHead(404, { 'Content-Length': 0 }).end()
    else response.writeHead(405, { Allow: METHODS, 'Content-Length': 0 }).end()
    return true
  }
}

/** What there is of a file besides itself. */
const isForm = (form: string | undefined): boolean => form === undefined || form === 'thumbnail'

async function put(
  { files, metrics, log }: FilesRouteOptions,
  id: string,
  exchange: Exchange,
): Promise<void> {
  try {
    const { size, type } = await upload(files, id, exchange)
    metrics.fileUploads.inc({ outcome: 'stored' })
    metrics.fileBytes.inc({ direction: 'in' }, size)
    log.info({ event: 'file.stored', file: id, bytes: size, type }, 'file stored')
  } catch (thrown) {
    const { kind } = toGatewayError(thrown)
    metrics.fileUploads.inc({ outcome: kind })
    log.info({ event: 'file.refused', file: id.slice(0, 32), code: kind }, 'upload refused')
    throw thrown
  }
}

async function get(
  { files, metrics }: FilesRouteOptions,
  { id, token, isSmall }: { readonly id: string; readonly token: string; readonly isSmall: boolean },
  exchange: Exchange,
): Promise<void> {
  const file = await files.findByLink(id, token)
  const { response, pace } = exchange
  const bytes = await (isSmall
    ? pace.while(thumbnail(files, file, response))
    : download(files, file, exchange))
  if (bytes > 0) metrics.fileBytes.inc({ direction: 'out' }, bytes)
}

function serve(
  options: FilesRouteOptions,
  { request, response, socket }: Exchange,
  work: () => Promise<void>,
): void {
  work().catch(thrown => {
    // The client has gone: there is nobody to tell, and nothing is wrong here.
    if (socket.destroyed || response.destroyed) return
    const error = toGatewayError(thrown)
    if (error.kind === 'ERROR') options.onFault('http.files', thrown)
    else if (CODES[error.kind].http >= 500)
      options.log.error(
        { event: 'files.failed', code: error.kind, err: error },
        'file neither taken nor given',
      )
    if (request.complete) refuse(response, error)
    else refuseUnread({ request, response, socket }, error)
  })
}

/** A page of an allowed origin may upload and read (Fetch, 3.2). There are no cookies, so nobody's login is lent to it. */
function allowOrigin(
  { isOrigin }: FilesRouteOptions,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { origin } = request.headers
  response.setHeader('Vary', 'Origin')
  if (origin === undefined || !isOrigin(origin)) return
  response.setHeader('Access-Control-Allow-Origin', origin)
  if (request.method !== 'OPTIONS') return
  response.setHeader('Access-Control-Allow-Methods', METHODS)
  response.setHeader('Access-Control-Allow-Headers', 'Authorization, Content-Type, Range, If-Range')
  response.setHeader('Access-Control-Max-Age', 7200)
}
