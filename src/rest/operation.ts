/** One operation of the API: where it is, what it takes and answers, and which requests it makes. */
import type { IncomingMessage } from 'node:http'
import type { CodeName } from '../core/errors.js'
import type { User } from '../core/model.js'
import type { Services } from '../handle/services.js'
import type { RequestData, RequestName } from '../protocol/requests.js'
import type { Fields, Schema } from '../protocol/rest.js'
import type { RestCaller } from './caller.js'

export type Values = Readonly<Record<string, unknown>>

/** What a request was answered through the door. */
export interface Done {
  readonly code: CodeName
  readonly data: unknown
}

/** A body that is not JSON, of a type and length that were checked. */
export interface Upload {
  /** Without parameters, in lower case. */
  readonly type: string
  readonly bytes: number
  /** The whole body; what is held of it counts in `rest.maxBufferedBytes`. @throws HttpRefusal, GatewayError */
  read(): Promise<Buffer>
  /** Paused. Whoever reads it as it comes says by `wait` how long the client has from now on, ms. */
  readonly stream: IncomingMessage
  readonly wait: (ms: number) => void
}

/** One request for an operation, whose parameters and body have passed their schemas. */
export interface Call {
  readonly caller: RestCaller
  /** Who has logged in; undefined: nobody. */
  readonly user: User | undefined
  readonly params: Values
  readonly query: Values
  readonly body: Values
  /** Only where the operation takes one. */
  readonly upload: Upload | undefined
  readonly services: Services
  /** Of `Idempotency-Key`. */
  readonly key: string | undefined
  /**
   * Makes a request by the door that those of all front ends pass.
   * @throws Refused
   */
  ask<N extends RequestName>(name: N, data: RequestData<N> | Values, id?: string): Promise<Done>
}

/** The `id` of a request that needs none for repeats, but whose data is wanted in the reply: requests of old clients get none. */
export const WITH_DATA = 'rest'

export interface Result {
  /** The operation's own, if undefined. */
  readonly status?: number
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
  /** Parameters of the query that make it one for the next page. */
  readonly next?: Values
}

export interface Operation {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Below `/api/v1`, as OpenAPI writes it: `/users/{id}`. */
  readonly path: string
  /** Its name in the document. */
  readonly id: string
  readonly summary: string
  /** The request whose name it has in log and metrics, and by which it is decided whether limits of the account apply. */
  readonly request: RequestName
  /** `none`: a token is not looked at. */
  readonly login: 'needed' | 'optional' | 'none'
  readonly params?: Fields
  readonly query?: Fields
  readonly body?: Fields
  /** Its body is not JSON: what may come instead. */
  readonly upload?: { readonly types: readonly string[]; readonly maxBytes: (services: Services) => number }
  /** Of its success. */
  readonly status: number
  /** Of its success; undefined: it has no body. */
  readonly answer?: Schema
  /** Refusals besides those that every operation may have. */
  readonly refusals?: readonly CodeName[]
  /** Nobody may keep the answer. */
  readonly isSecret?: true
  /** `Idempotency-Key` is looked at. */
  readonly takesKey?: true
  /** Its answer is a page of a longer list; `Link` leads to the next one (RFC 8288). */
  readonly isPaged?: true
  /** `If-Match` is looked at; the operation whose answer it is compared with. */
  readonly matches?: Operation
  /** What is waited for before it runs. It ends with `signal`: the client has left, or the gateway sends clients away. */
  readonly wait?: (call: Call, signal: AbortSignal) => Promise<void>
  readonly run: (call: Call) => Promise<Result>
}
