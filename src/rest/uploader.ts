/** Who uploads: resumable uploads have a protocol of their own below `/api`, and tokens and limits as all else there. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { GatewayError, type Locale } from '../core/errors.js'
import { admit, type Login, type UserId } from '../core/model.js'
import type { Services } from '../handle/services.js'
import { callerOf } from './caller.js'
import { pay } from './quota.js'

export interface Uploader {
  readonly userId: UserId
  readonly login: Login
  /** @throws GatewayError if permissions of the account were revoked since */
  check(): void
}

/** @returns who asks, by which login, and a check of that @throws GatewayError ERROR_UNAUTHORIZED, ERROR_AUTH, RATE_LIMITED and what else refuses a token */
export const uploader =
  (services: Services, locale: Locale) =>
  async (
    request: IncomingMessage,
    response: ServerResponse,
    address: string | undefined,
  ): Promise<Uploader> => {
    const caller = callerOf({ services, locale }, request, response, address)
    await caller.authorize(request)
    // The bytes of files have limits of their own.
    pay(services.limits, caller, { request: 'uploadSlot' }, 0)
    const { userId, login, permissions } = caller
    if (userId === undefined || login === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
    const check = () => admit(permissions)
    check()
    return { userId, login, check }
  }
