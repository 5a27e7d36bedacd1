/**
 * The way from the HTTP port to the API below `/api`. Admission, TLS, rates by address and pipelining are the port's
 * (http/server.ts). The API itself, with Fastify, is loaded at the first request for it, so that it costs nobody anything
 * who does not use it.
 */
import { setMaxListeners } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathOf, type Route, send } from '../http/answers.js'
import { whenOver } from '../http/ends.js'
import { originCheck } from '../http/origins.js'
import type { Api, Origins, RestOptions } from './given.js'

const ROOT = '/api'

const originsOf = (origins: readonly string[]): Origins => ({
  isOrigin: originCheck(origins),
  isOpen: origins.length === 0,
})

export class RestFront {
  #api: Promise<Api> | undefined
  #pending = 0
  #isClosed = false
  #isLeaving = false
  readonly #ending = new AbortController()
  #origins: Origins

  constructor(private readonly options: RestOptions) {
    // One for each request that waits.
    setMaxListeners(0, this.#ending.signal)
    this.#origins = originsOf(options.origins)
  }

  /** Pages of these origins may use the API from now on. */
  allowOrigins(origins: readonly string[]): void {
    this.#origins = originsOf(origins)
  }

  readonly route: Route = (request, response, address, wait = () => undefined) => {
    const path = pathOf(request)
    if (path !== ROOT && !path.startsWith(`${ROOT}/`)) return false
    // Until it is known who asks. What is not read by the end of the answer is dropped.
    request.pause()
    response.once('finish', () => request.resume())
    this.#pending++
    whenOver(request.socket, response, () => this.#pending--)
    const front = this
    const given = {
      address,
      wait,
      // As it is when the answer leaves.
      get isClosed() {
        return front.#isClosed
      },
      get isLeaving() {
        return front.#isLeaving
      },
      over: () => this.#overWith(request, response),
      origins: this.#origins,
    }
    this.#load().then(
      api => api(request, response, given),
      thrown => {
        this.#api = undefined
        this.options.onFault('rest.load', thrown)
        send(response, 500, 'text/plain', 'failed\n')
      },
    )
    return true
  }

  #overWith({ socket }: IncomingMessage, response: ServerResponse): AbortSignal {
    const { signal } = this.#ending
    const over = new AbortController()
    const end = () => over.abort()
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
    whenOver(socket, response, () => {
      signal.removeEventListener('abort', end)
      end()
    })
    return over.signal
  }

  /** Clients are sent away: connections end with their next answer. */
  leave(): void {
    this.#isLeaving = true
    this.#ending.abort()
  }

  /** Takes nothing new. Resolves when what was taken is answered, or after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#isClosed = true
    this.#ending.abort()
    const until = performance.now() + graceMs
    while (this.#pending > 0 && performance.now() < until) await sleep(10)
  }

  #load(): Promise<Api> {
    this.#api ??= import('./api.js').then(({ makeApi }) => makeApi(this.options))
    return this.#api
  }
}
