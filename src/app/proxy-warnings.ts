/** Finds reverse proxies that hide their clients. */
import type { IncomingMessage } from 'node:http'
import type { Logger } from '../core/log.js'
import type { AddressList } from '../limits/address.js'

/** Each fault is logged once, since it comes with every connection. */
export class ProxyWarnings {
  readonly #said = new Set<string>()

  constructor(
    private readonly proxies: Pick<AddressList, 'has'>,
    private readonly log: Pick<Logger, 'warn'>,
  ) {}

  /** @param client address of the client, as far as it is known */
  look(request: IncomingMessage, client: string | undefined): void {
    const { remoteAddress } = request.socket
    if (this.proxies.has(remoteAddress)) {
      const text = 'sends no X-Forwarded-For that names its client'
      if (client === undefined) this.#warn('proxy.client-unknown', remoteAddress, text)
    } else if (request.headers['x-forwarded-for'] !== undefined) {
      // All of its clients would count as one, or have no limits where its address is exempt.
      this.#warn('proxy.not-trusted', remoteAddress, 'sends X-Forwarded-For, is not in http.trustProxy')
    }
  }

  #warn(event: string, remoteAddress: string | undefined, text: string): void {
    if (this.#said.has(event)) return
    this.#said.add(event)
    this.log.warn({ event, remoteAddress }, text)
  }
}
