/** Makes the pages below /account, and knows where browsers find them. */
import type { AddressInfo } from 'node:net'
import { accountPages } from '../account-pages/pages.js'
import type { Config } from '../config/config.js'
import type { OnFault } from '../core/faults.js'
import type { Metrics } from '../core/metrics.js'
import type { Services } from '../handle/services.js'
import type { Route } from '../http/answers.js'
import { AddressList } from '../limits/address.js'

const NO_PAGES: Route = () => false

export function pagesRoute(services: Services, metrics: Metrics, config: Config, onFault: OnFault): Route {
  return config.accounts.pages
    ? accountPages({ services, metrics, locale: config.locale, onFault })
    : NO_PAGES
}

/**
 * Where links in letters lead, without a slash at its end. It is the config's, or the port's own address where that is one of
 * this machine; never what a request calls it, which is up to whoever sends the request.
 * @returns undefined if it is not known, or there are no pages
 */
export function baseUrlOf(
  { accounts, http, tls }: Config,
  port: AddressInfo | undefined,
): string | undefined {
  if (!accounts.pages || port === undefined) return undefined
  if (http.publicUrl !== '') return http.publicUrl
  if (!new AddressList(['127.0.0.0/8', '::1']).has(port.address)) return undefined
  const host = port.family === 'IPv6' ? `[${port.address}]` : port.address
  return `${http.tls && tls.cert !== '' ? 'https' : 'http'}://${host}:${port.port}`
}
