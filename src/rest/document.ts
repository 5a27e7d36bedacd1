/** The published description of the API: OpenAPI 3.1, made of the operations and the schemas by which they are checked. */
import { CODES } from '../core/errors.js'
import { version } from '../core/version.js'
import { type Fields, GIVEN, type Schema } from '../protocol/rest.js'
import type { Operation } from './operation.js'
import { SUBJECTS } from './routes/index.js'

type Json = { readonly [name: string]: unknown }

const PROBLEM = 'application/problem+json'

/** Refusals that every operation may have: of a bad field, a foreign page, its form, its length, a limit, a fault. */
const ALWAYS = [400, 403, 406, 408, 411, 413, 429, 500, 503]

const WORDS: Readonly<Record<number, string>> = {
  304: 'Not modified: `If-None-Match` names what there is.',
  400: 'A field, parameter or header is not valid.',
  401: 'No token, or one that is good no more, or a wrong password.',
  403: 'Not allowed; also a page that `http.origins` does not name, or a wrong password with a good token.',
  404: 'There is no such thing.',
  405: 'Not done there.',
  406: 'The client takes no JSON.',
  408: 'The body did not come in time.',
  409: 'It is taken, or the other one is not there now.',
  411: 'A body in chunks: its length must be said.',
  412: '`If-Match` is of another state.',
  413: 'Too long.',
  415: 'The body is of another type.',
  422: 'The `Idempotency-Key` is that of another message.',
  429: 'Over a limit: see `Retry-After`.',
  500: 'An unforeseen error in the server.',
  503: 'Not now: see `Retry-After`.',
}

export const openApi = (): Json => ({
  openapi: '3.1.1',
  info: {
    title: 'MumiChat Gateway',
    version: version(),
    summary: 'Accounts, messages and devices of a MumiChat server.',
    description:
      'The same accounts, messages, rights and limits as over WebSocket and MQTT. Messages come by themselves over those; by this API they are sent, asked for (`GET /inbox`), and read again. Refusals are problem details (RFC 9457) with the `code` that the same refusal has there.',
    license: { name: 'MIT', identifier: 'MIT' },
  },
  servers: [{ url: '/api/v1' }],
  tags: Object.keys(SUBJECTS).map(name => ({ name })),
  paths: pathsOf(),
  components: {
    securitySchemes: {
      token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'From `POST /login`.' },
    },
    schemas: Object.fromEntries(Object.entries(GIVEN).map(([name, schema]) => [name, plain(schema, name)])),
    responses: { Problem: problemResponse('Refused.') },
  },
})

function pathsOf(): Json {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const [tag, operations] of Object.entries(SUBJECTS))
    for (const one of operations) {
      const path = paths[one.path] ?? {}
      paths[one.path] = path
      path[one.method.toLowerCase()] = operationOf(one, tag)
    }
  return paths
}

function operationOf(one: Operation, tag: string): Json {
  const parameters = [
    ...parametersOf(one.params, 'path'),
    ...parametersOf(one.query, 'query'),
    ...headersOf(one),
  ]
  const optional = one.login === 'optional' ? [{}] : []
  return {
    tags: [tag],
    operationId: one.id,
    summary: one.summary,
    ...(one.login !== 'none' && { security: [...optional, { token: [] }] }),
    ...(parameters.length > 0 && { parameters }),
    ...bodyOf(one),
    responses: responsesOf(one),
  }
}

const parametersOf = (fields: Fields | undefined, place: 'path' | 'query'): Json[] =>
  Object.entries(fields?.properties ?? {}).map(([name, schema]) => ({
    name,
    in: place,
    required: place === 'path' || fields?.required?.includes(name) === true,
    schema: plain(schema),
  }))

function headersOf({ takesKey, matches, method }: Operation): Json[] {
  const header = (name: string, description: string) => ({
    name,
    in: 'header',
    description,
    schema: { type: 'string' },
  })
  return [
    ...(takesKey
      ? [
          header(
            'Idempotency-Key',
            '1 to 64 characters, with or without quotes. The same message with the same key within `dedup.window` is stored once.',
          ),
        ]
      : []),
    ...(matches
      ? [header('If-Match', `The \`ETag\` of \`GET ${matches.path}\`: refused if it is another now.`)]
      : []),
    ...(method === 'GET' ? [header('If-None-Match', 'An `ETag`: 304 if it is still the same.')] : []),
  ]
}

function bodyOf({ body, upload }: Operation): Json {
  if (upload !== undefined) {
    const content = Object.fromEntries(upload.types.map(type => [type, {}]))
    return { requestBody: { required: true, content } }
  }
  if (body === undefined) return {}
  const schema = { ...plain(body), additionalProperties: false }
  return { requestBody: { required: true, content: { 'application/json': { schema } } } }
}

/** Of an operation's refusals: the statuses of their codes, and those of the way there. */
export function refusedStatuses({
  method,
  login,
  body,
  upload,
  matches,
  refusals = [],
}: Operation): readonly number[] {
  const own = refusals.map(kind => CODES[kind].http)
  const all = [...ALWAYS, ...own]
  if (login !== 'none') all.push(CODES.ERROR_AUTH.http)
  // Also of an operation without a body, where one comes that is no JSON.
  if (body !== undefined || upload !== undefined || method !== 'GET') all.push(415)
  if (matches !== undefined) all.push(412)
  return [...new Set(all)].sort((a, b) => a - b)
}

function responsesOf(one: Operation): Json {
  const { status, answer, method, isPaged } = one
  const etag = method === 'GET' && { ETag: { schema: { type: 'string' } } }
  const link = isPaged && {
    Link: { description: '`rel="next"`: the next page (RFC 8288).', schema: { type: 'string' } },
  }
  const headers = { ...etag, ...link }
  const done = {
    description: 'Done.',
    ...(Object.keys(headers).length > 0 && { headers }),
    ...(answer && { content: { 'application/json': { schema: referTo(answer) } } }),
  }
  return {
    [status]: done,
    ...(method === 'GET' && { 304: { description: WORDS[304] } }),
    ...Object.fromEntries(refusedStatuses(one).map(refused => [refused, problemResponse(WORDS[refused])])),
  }
}

const problemResponse = (description = 'Refused.'): Json => ({
  description,
  content: { [PROBLEM]: { schema: { $ref: '#/components/schemas/Problem' } } },
})

const NAMES: ReadonlyMap<unknown, string> = new Map(Object.entries(GIVEN).map(([name, one]) => [one, name]))

const referTo = (schema: Schema): Json => ({ $ref: `#/components/schemas/${NAMES.get(schema)}` })

/** As JSON Schema has it, without what our own checks read in it; a schema with a name of its own becomes a reference. */
function plain(schema: unknown, self?: string): Json {
  return JSON.parse(
    JSON.stringify(schema, function (this: unknown, key, value) {
      if (key === 'reason') return undefined
      const name = NAMES.get(value)
      return name !== undefined && name !== self ? referTo(value) : value
    }),
  )
}
