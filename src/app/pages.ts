/** Makes the pages below /account, pictures of accounts and the paths of files, and knows where browsers find them. */
import type { AddressInfo } from 'node:net'
import { accountPages } from '../account-pages/pages.js'
import type { Config } from '../config/config.js'
import type { OnFault } from '../core/faults.js'
import type { Metrics } from '../core/metrics.js'
import { resumableRoute } from '../files-http/resumable.js'
import { filesRoute } from '../files-http/route.js'
import type { Services } from '../handle/services.js'
import type { Route } from '../http/answers.js'
import { imagesRoute } from '../images/route.js'
import { AddressList } from '../limits/address.js'
import { uploader } from '../rest/uploader.js'

const NO_PAGES: Route = () => false

export function pagesRoute(services: Services, metrics: Metrics, config: Config, onFault: OnFault): Route {
  const onFailed = (thrown: unknown) =>
    services.log.error({ event: 'image.failed', err: thrown }, 'image not served')
  const images = imagesRoute(services.profileImages, onFailed)
  const pages = config.accounts.pages
    ? accountPages({ services, metrics, locale: config.locale, onFault })
    : NO_PAGES
  return (...asked) => images(...asked) || pages(...asked)
}

export function filesPaths(
  services: Services,
  {
    config,
    metrics,
    onFault,
  }: { readonly config: Config; readonly metrics: Metrics; readonly onFault: OnFault },
  isOrigin: (origin: string) => boolean,
): Route {
  if (!config.files.enabled) return NO_PAGES
  const { files, log } = services
  const options = { files, metrics, log, onFault, isOrigin, stallMs: config.limits.handshakeTimeout }
  const once = filesRoute(options)
  if (!config.rest.enabled) return once
  const authorize = uploader(services, config.locale)
  const resumable = resumableRoute({ ...options, authorize })
  return (...asked) => once(...asked) || resumable(...asked)
}

/**
 * Where links in letters and messages lead, without a slash at its end. It is the config's, or the port's own address where that is one of
 * this machine; never what a request calls it, which is up to whoever sends the request.
 * @returns undefined if it is not known
 */
export function baseUrlOf({ http, tls }: Config, port: AddressInfo | undefined): string | undefined {
  if (port === undefined) return undefined
  if (http.publicUrl !== '') return http.publicUrl
  if (!new AddressList(['127.0.0.0/8', '::1']).has(port.address)) return undefined
  const host = port.family === 'IPv6' ? `[${port.address}]` : port.address
  return `${http.tls && tls.cert !== '' ? 'https' : 'http'}://${host}:${port.port}`
}
