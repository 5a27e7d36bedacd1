/** What the API is given: by the gateway once, and by the port with each request. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Locale } from '../core/errors.js'
import type { OnFault } from '../core/faults.js'
import type { Metrics } from '../core/metrics.js'
import type { Services } from '../handle/services.js'

export interface RestOptions {
  readonly services: Services
  readonly metrics: Pick<Metrics, 'answered'>
  /** Of clients that name no language that there is. */
  readonly locale: Locale
  /** Pages that may use the API; empty: all. */
  readonly origins: readonly string[]
  /** Longest body, bytes; the same without a login. */
  readonly maxBytes: number
  readonly maxBytesBeforeLogin: number
  /** How long a body may take, ms. */
  readonly bodyTimeoutMs: number
  /** Of bodies and answers together. */
  readonly maxBufferedBytes: number
  readonly onFault: OnFault
}

/** What comes with a request from the port. */
export interface Given {
  readonly address: string | undefined
  readonly wait: (ms: number) => void
  /** The gateway takes nothing new any more. */
  readonly isClosed: boolean
  /** Clients are sent away: the answer is the last one on its connection. */
  readonly isLeaving: boolean
  /** For whoever waits: aborted when the client leaves, clients are sent away, or the gateway takes nothing new any more. */
  readonly over: () => AbortSignal
  readonly origins: Origins
}

/** Pages that may use the API. */
export interface Origins {
  readonly isOrigin: (origin: string) => boolean
  /** Every page may. */
  readonly isOpen: boolean
}

/** Takes a request, whose body is paused, and answers it. */
export type Api = (request: IncomingMessage, response: ServerResponse, given: Given) => void
