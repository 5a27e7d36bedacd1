/** Joins the parts of administration over HTTP: the port, the tokens, and the delays after wrong ones. */
import type { AddressInfo } from 'node:net'
import type { AdminReply, Question } from '../admin/ask.js'
import { AdminHttp } from '../admin/http.js'
import type { AdminToken } from '../auth/admin-tokens.js'
import type { Config } from '../config/config.js'
import { GatewayError } from '../core/errors.js'
import type { OnFault } from '../core/faults.js'
import type { Services } from '../handle/services.js'
import { addressGroup } from '../limits/address.js'
import { AddressCounts } from '../limits/address-buckets.js'
import { FailedLogins } from '../limits/failed-logins.js'
import type { Front } from './ports.js'

/** Connections in all, and of one address. */
const MAX_SOCKETS = 100
const PER_ADDRESS = 10
/** How long a client has for its whole request, ms. */
const REQUEST_MS = 10_000

export interface AdminHttpParts {
  readonly config: Config
  readonly front: Front
  readonly services: Services
  readonly ask: (question: Question) => Promise<AdminReply>
  readonly onFault: OnFault
}

/** @throws TlsError, or the system's error, for example EADDRINUSE */
export async function openAdminHttp({
  config,
  front,
  services,
  ask,
  onFault,
}: AdminHttpParts): Promise<{ readonly server: AdminHttp; readonly address: AddressInfo }> {
  const check = tokenCheck(config, services)
  const server = new AdminHttp({ ask, check, onFault, requestTimeoutMs: REQUEST_MS })
  const open = new AddressCounts(() => PER_ADDRESS)
  const address = await front.listenAdmin({
    hasTls: config.admin.tls,
    maxSockets: MAX_SOCKETS,
    admit: address => {
      if (!open.hasRoom(address)) return false
      open.enter(address)
      return true
    },
    left: address => open.leave(address),
    take: socket => server.take(socket),
  })
  return { server, address }
}

/** The failures are counted by address alone: a token names nobody before it is right. */
function tokenCheck(
  { limits: rules }: Config,
  { adminTokens, audit, limits, log }: Services,
): (token: string, remoteAddress: string | undefined) => Promise<AdminToken> {
  const failed = new FailedLogins({
    perAccount: rules.failedLogins,
    perAddress: rules.failedLogins,
    delayMs: rules.loginDelay,
    maxDelayMs: rules.loginDelayMax,
  })
  return async (token, remoteAddress) => {
    const settle = failed.begin(addressGroup(remoteAddress), 'admin')
    if (typeof settle !== 'function') {
      limits.count(settle.limit)
      const reason = `wait ${Math.ceil(settle.waitMs / 1000)} s`
      throw new GatewayError('TOO_MANY_ATTEMPTS', { reason })
    }
    try {
      const found = await adminTokens.find(token)
      settle(found === undefined ? 'wrong' : 'right')
      if (found !== undefined) return found
    } catch (thrown) {
      settle('unknown')
      throw thrown
    }
    audit.record({ event: 'admin.denied', front: 'admin', remoteAddress })
    log.warn({ event: 'admin.denied', remoteAddress }, 'wrong token of an operator')
    throw new GatewayError('ERROR_AUTH', { field: 'token', reason: 'is wrong, revoked or expired' })
  }
}
