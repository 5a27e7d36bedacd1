/** Runs one operation: who asks, what it costs, its parameters and body, its requests, its answer. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { GatewayError } from '../core/errors.js'
import { KeyedSerial } from '../flow/serial.js'
import { checkFields, compileRules, refuseUnknown, typedFields } from '../protocol/fields.js'
import { bodyBytes, checkJsonType, checkType, decodeText, readBody } from './body.js'
import { callerOf, type RestCaller } from './caller.js'
import { Door } from './door.js'
import type { Given, RestOptions } from './given.js'
import { checkAccept, etagOf, type Headers, namesTag } from './headers.js'
import { Held } from './held.js'
import type { Call, Operation, Result, Upload, Values } from './operation.js'
import { HttpRefusal, problemOf } from './problem.js'
import { holderOf, pay } from './quota.js'

/** One request, as the router gives it. */
export interface Asked {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly given: Given
  readonly params: Values
  readonly query: Values
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body?: string
}

/** What a request holds besides its body. */
const REQUEST_BYTES = 4096
/** How long an answer may be in the making, ms: the store has time-outs of its own, and passwords wait for their turn. */
const WORK_MS = 60_000
/** For the answer that a client has been too slow. */
const LATE_MS = 2000

export class Runner {
  readonly #door: Door
  readonly #held: Held
  /** What reads much is done one after the other for one account, so that each finds what those before it hold. */
  readonly #reads = new KeyedSerial()
  readonly #changes = new KeyedSerial()
  readonly #rules

  constructor(
    private readonly options: RestOptions,
    operations: readonly Operation[],
  ) {
    this.#door = new Door(options.services, options.metrics)
    this.#held = new Held(options.maxBufferedBytes)
    const schemas = operations.flatMap(({ id, ...one }) =>
      (['params', 'query', 'body'] as const).flatMap(part => {
        const schema = one[part]
        return schema === undefined ? [] : [[`${id} ${part}`, schema] as const]
      }),
    )
    this.#rules = compileRules(Object.fromEntries(schemas))
  }

  /** Who asks, before anything says who. */
  stranger({ request, response, given }: Pick<Asked, 'request' | 'response' | 'given'>): RestCaller {
    return callerOf(this.options, request, response, given.address)
  }

  /** Never rejects: what goes wrong is the answer. */
  async run(by: Operation, asked: Asked): Promise<Answer> {
    const caller = this.stranger(asked)
    try {
      return await this.#run(by, asked, caller)
    } catch (thrown) {
      return this.refuse(caller, by, thrown)
    }
  }

  /** @param by undefined: it is for no operation */
  refuse(caller: RestCaller, by: Operation | undefined, thrown: unknown): Answer {
    const error = this.#door.refused(caller, by?.request ?? 'invalid', thrown)
    const { status, headers, body } = problemOf(error, caller.locale, caller.userId !== undefined)
    const type = { 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store' }
    return { status, headers: { ...type, ...headers }, body: JSON.stringify(body) }
  }

  async #run(by: Operation, asked: Asked, caller: RestCaller): Promise<Answer> {
    const { request, given } = asked
    if (given.isClosed) throw new GatewayError('SHUTDOWN')
    checkAccept(request.headers)
    const user = by.login === 'none' ? undefined : await caller.authorize(request)
    if (by.login === 'needed' && user === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
    const { services } = this.options
    const bytes = bodyBytes(request, this.#maxBytes(by, user === undefined))
    pay(services.limits, caller, by, bytes)
    const upload = by.upload && this.#upload(by.upload.types, bytes, asked, caller)
    this.#hold(asked, holderOf(caller), REQUEST_BYTES + (upload === undefined ? bytes : 0))
    const params = this.#checked(by, 'params', asked.params)
    const query = this.#checked(by, 'query', asked.query)
    const body = this.#checked(by, 'body', bytes === 0 || upload !== undefined ? {} : await this.#body(asked))
    given.wait(WORK_MS)
    const call: Call = {
      ...{ caller, user, params, query, body, upload, services },
      key: by.takesKey ? keyOf(request.headers['idempotency-key']) : undefined,
      ask: (name, data, id) => this.#door.ask(caller, name, data as Values, id),
    }
    if (by.wait !== undefined) {
      await by.wait(call, given.over())
      given.wait(WORK_MS)
    }
    if (by.method === 'GET') return this.#read(by, asked, call)
    const result = await this.#change(by, asked, call)
    return answerOf(by, result)
  }

  async #body({ request, given }: Asked): Promise<Values> {
    const { bodyTimeoutMs } = this.options
    checkJsonType(request)
    given.wait(bodyTimeoutMs + LATE_MS)
    return this.#door.parse(decodeText(await readBody(request, bodyTimeoutMs)))
  }

  #maxBytes({ upload }: Operation, isStranger: boolean): number {
    const { maxBytes, maxBytesBeforeLogin, services } = this.options
    if (upload !== undefined) return upload.maxBytes(services)
    return isStranger ? maxBytesBeforeLogin : maxBytes
  }

  #upload(types: readonly string[], bytes: number, asked: Asked, caller: RestCaller): Upload {
    const { request, given } = asked
    const { bodyTimeoutMs } = this.options
    const read = () => {
      this.#hold(asked, holderOf(caller), bytes)
      given.wait(bodyTimeoutMs + LATE_MS)
      return readBody(request, bodyTimeoutMs)
    }
    return { type: checkType(request, types), bytes, read, stream: request, wait: given.wait }
  }

  /** Until the answer has been read. @throws GatewayError OVERLOADED */
  #hold(asked: Asked, who: string, bytes: number): void {
    if (!this.#held.takeFor(asked, who, bytes)) {
      this.options.services.limits.count('rest.maxBufferedBytes')
      throw new GatewayError('OVERLOADED')
    }
  }

  /** @throws GatewayError BAD_FIELD, TOO_LARGE */
  #checked({ id }: Operation, part: 'params' | 'query' | 'body', values: Values): Values {
    const rules = this.#rules.get(`${id} ${part}`)
    if (rules === undefined) {
      refuseUnknown({ ...values }, NONE)
      return {}
    }
    const all = part === 'query' ? typedFields(rules, { ...values }) : { ...values }
    checkFields(rules, all, 'refuse')
    return all
  }

  async #read(by: Operation, asked: Asked, call: Call): Promise<Answer> {
    const { request } = asked
    const who = holderOf(call.caller)
    return this.#reads.run(who, async () => {
      // Asked again: answers before it may have taken the room.
      this.#hold(asked, who, 0)
      const result = await by.run(call)
      const answer = answerOf(by, { ...result, headers: { ...result.headers, ...linkTo(by, call, result) } })
      const { body = '' } = answer
      const bytes = Buffer.byteLength(body)
      this.#held.addFor(asked, who, bytes)
      const etag = etagOf(body)
      const headers = { ...answer.headers, ETag: etag }
      const known = request.headers['if-none-match']
      return known !== undefined && namesTag(known, etag, true)
        ? { status: 304, headers }
        : { ...answer, headers }
    })
  }

  /** With `If-Match` one after the other, so that of two who have read the same the second is refused. */
  async #change(by: Operation, { request }: Asked, call: Call): Promise<Result> {
    const { matches } = by
    const wanted = request.headers['if-match']
    if (matches === undefined) return by.run(call)
    return this.#changes.run(holderOf(call.caller), async () => {
      if (wanted !== undefined) {
        const { body = '' } = answerOf(matches, await matches.run(call))
        if (!namesTag(wanted, etagOf(body), false))
          throw new HttpRefusal(412, 'if-match', 'is of another state')
      }
      return by.run(call)
    })
  }
}

const NONE: ReadonlySet<string> = new Set()

function answerOf(by: Operation, { status = by.status, body, headers = {} }: Result): Answer {
  const kept = by.isSecret || by.method !== 'GET' ? 'no-store' : 'private, no-cache'
  const all = { 'Cache-Control': kept, ...headers }
  if (body === undefined) return { status, headers: all }
  return { status, headers: { 'Content-Type': 'application/json', ...all }, body: JSON.stringify(body) }
}

/** A relative reference: a proxy may serve the API below another path. */
function linkTo({ path }: Operation, { query }: Call, { next }: Result): Headers {
  if (next === undefined) return {}
  const all = new URLSearchParams(
    Object.entries({ ...query, ...next }).map(([name, value]): [string, string] => [name, String(value)]),
  )
  return { Link: `<${path.slice(path.lastIndexOf('/') + 1)}?${all}>; rel="next"` }
}

/**
 * A string of structured fields (RFC 9651, 3.3.3), or the same without quotes, as many clients send it.
 * @throws HttpRefusal
 */
function keyOf(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  const text = [header].flat().join()
  const [, quoted, bare] = /^(?:"([ -!#-[\]-~]{1,64})"|([!#-+\--:<-[\]-~]{1,64}))$/.exec(text) ?? []
  const key = quoted ?? bare
  if (key === undefined)
    throw new HttpRefusal(400, 'idempotency-key', 'must be a string of 1 to 64 characters')
  return key
}
