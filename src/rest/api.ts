/** The API on Fastify: which operation a request is for, and how its answer leaves. */
import { type IncomingMessage, METHODS, Server, type ServerResponse } from 'node:http'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { openApi } from './document.js'
import type { Api, Given, RestOptions } from './given.js'
import { COMMON, crossOrigin, etagOf, type Headers, namesTag, optionsHeaders } from './headers.js'
import type { Operation } from './operation.js'
import { PAGE_HEADERS, renderPage } from './page.js'
import { HttpRefusal } from './problem.js'
import { OPERATIONS } from './routes/index.js'
import { type Answer, type Asked, Runner } from './runner.js'
import { answerUnread, isUnread } from './unread.js'

const BASE = '/api/v1'

/** What a client has to read an answer, ms, and for each byte of it. */
const READ_MS = 10_000
const READ_MS_PER_BYTE = 1000 / 16_384
const READ_MS_MAX = 60_000

export async function makeApi(options: RestOptions): Promise<Api> {
  const given = new WeakMap<IncomingMessage, Given>()
  const runner = new Runner(options, OPERATIONS)
  // It never listens: sockets and their limits are the port's (http/server.ts).
  const app = Fastify({
    serverFactory: () => new Server(),
    routerOptions: { maxParamLength: 256 },
    frameworkErrors: (error, request, reply) => fail(error, request as FastifyRequest, reply as FastifyReply),
  })
  // Of the rest a path that there is says what it takes (405).
  for (const method of METHODS) if (!app.supportedMethods.includes(method)) app.addHttpMethod(method)
  // Bodies are read by body.ts, when it is known who asks.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))

  const askedOf = ({ raw, params, query }: FastifyRequest, response: ServerResponse): Asked => ({
    request: raw,
    response,
    given: given.get(raw) ?? NOWHERE,
    params: params as Asked['params'],
    query: query as Asked['query'],
  })

  function send(
    request: FastifyRequest,
    reply: FastifyReply,
    { status, headers, body }: Answer,
  ): FastifyReply {
    const { wait, isLeaving, isClosed, origins } = given.get(request.raw) ?? NOWHERE
    let cors: Headers = {}
    try {
      cors = crossOrigin(request.headers, origins)
    } catch (thrown) {
      if (!(thrown instanceof HttpRefusal)) throw thrown
      cors = thrown.headers
    }
    const close = isLeaving || isClosed ? { Connection: 'close' } : {}
    const bytes = body === undefined ? 0 : Buffer.byteLength(body)
    wait(Math.min(READ_MS + bytes * READ_MS_PER_BYTE, READ_MS_MAX))
    const all = { ...COMMON, ...cors, ...headers, ...close }
    if (isUnread(request.raw)) {
      reply.hijack()
      answerUnread(request.raw, reply.raw, { status, headers: all, ...(body !== undefined && { body }) })
      return reply
    }
    return reply.code(status).headers(all).send(body)
  }

  function fail(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const { statusCode } = thrown as { statusCode?: number }
    // Of Fastify: a path that cannot be decoded, a media type that is none, and the like.
    const field = statusCode === 415 ? 'content-type' : 'path'
    const error =
      statusCode !== undefined && statusCode < 500
        ? new HttpRefusal(statusCode, field, 'is not valid')
        : thrown
    const caller = runner.stranger(askedOf(request, reply.raw))
    return send(request, reply, runner.refuse(caller, undefined, error))
  }
  app.setErrorHandler((thrown, request, reply) => void fail(thrown, request, reply))

  app.addHook('onRequest', async ({ headers, raw }) => {
    crossOrigin(headers, (given.get(raw) ?? NOWHERE).origins)
  })

  /** Answers OPTIONS, and refuses what is not done there. */
  function refuseOthers(url: string, allowed: readonly string[]): void {
    const all = [...allowed, 'OPTIONS'].join(', ')
    app.options(url, (request, reply) =>
      send(request, reply, { status: 204, headers: optionsHeaders(request.headers, all) }),
    )
    app.route({
      method: METHODS.filter(method => method !== 'OPTIONS' && !allowed.includes(method)),
      url,
      handler: () => {
        throw new HttpRefusal(405, 'method', `must be one of ${all}`, { Allow: all })
      },
    })
  }

  for (const [url, document] of documents()) {
    app.get(url, (request, reply) => {
      const isKnown = namesTag(request.headers['if-none-match'] ?? '', document.headers.ETag, true)
      return send(request, reply, isKnown ? { status: 304, headers: document.headers } : document)
    })
    refuseOthers(url, ['GET', 'HEAD'])
  }

  for (const operation of OPERATIONS) {
    const url = BASE + operation.path.replaceAll(/\{(\w+)\}/g, ':$1')
    app.route({
      method: operation.method,
      url,
      handler: async (request, reply) =>
        send(request, reply, await runner.run(operation, askedOf(request, reply.raw))),
    })
  }
  for (const [path, allowed] of methodsOf(OPERATIONS))
    refuseOthers(BASE + path.replaceAll(/\{(\w+)\}/g, ':$1'), allowed)
  app.setNotFoundHandler(() => {
    throw new HttpRefusal(404, 'path', 'is not known')
  })
  await app.ready()
  return (request, response, about) => {
    given.set(request, about)
    app.routing(request, response)
  }
}

/** What describes the API. */
function documents() {
  const json = `${JSON.stringify(openApi())}\n`
  const page = renderPage()
  const type = { 'Content-Type': 'application/json', 'Cache-Control': 'public, max-age=300' }
  const document = (body: string, headers: Headers) => ({
    status: 200,
    headers: { ...headers, ETag: etagOf(body) },
    body,
  })
  return [
    ['/api/openapi.json', document(json, type)],
    ['/api', document(page, PAGE_HEADERS)],
  ] as const
}

const NOWHERE: Given = {
  address: undefined,
  wait: () => undefined,
  isClosed: false,
  isLeaving: false,
  over: () => AbortSignal.abort(),
  origins: { isOrigin: () => false, isOpen: false },
}

/** Path → the methods of its operations. */
function methodsOf(operations: readonly Operation[]): ReadonlyMap<string, readonly string[]> {
  const all = new Map<string, string[]>()
  for (const { path, method } of operations) {
    const known = all.get(path) ?? []
    all.set(path, [...known, ...(method === 'GET' ? ['GET', 'HEAD'] : [method])])
  }
  return all
}
