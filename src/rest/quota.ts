/** What one request may cost: the rates of its account or, without a login, of its address. */
import { GatewayError } from '../core/errors.js'
import { isForDevices } from '../handle/index.js'
import { addressGroup } from '../limits/address.js'
import type { Limits } from '../limits/limits.js'
import type { RestCaller } from './caller.js'
import type { Operation } from './operation.js'

/** By whom bytes are held; see Held. */
export const holderOf = ({ userId, remoteAddress }: RestCaller): string =>
  userId ?? addressGroup(remoteAddress)

/**
 * Counts a request. As over WebSocket, limits of the account do not refuse what only its owner may ask for (json/quota.ts).
 * @param bytes of its body
 * @throws GatewayError RATE_LIMITED
 */
export function pay(
  limits: Limits,
  { userId, remoteAddress }: RestCaller,
  by: Pick<Operation, 'request'>,
  bytes: number,
): void {
  const limit =
    userId === undefined
      ? limits.beforeLogin(remoteAddress)?.take() === false && 'limits.requestsBeforeLogin'
      : overAccount(limits, userId, remoteAddress, bytes)
  if (limit === false || (userId !== undefined && !isForDevices(by.request))) return
  limits.count(limit)
  throw new GatewayError('RATE_LIMITED')
}

function overAccount(limits: Limits, userId: string, address: string | undefined, bytes: number) {
  if (!limits.traffic(userId).sent.spend(bytes)) return 'limits.accountBytes'
  if (limits.isExempt(address) || limits.accountRate(userId).take()) return false
  return 'limits.accountRequests'
}
