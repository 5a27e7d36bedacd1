/** Who makes a request of the API: a login by its token, or, for one request, somebody who is logging in. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Principal } from '../auth/authenticate.js'
import { GatewayError, type Locale } from '../core/errors.js'
import type { Login, User, UserId } from '../core/model.js'
import type { Caller, LoginTarget } from '../handle/context.js'
import type { Waiter } from '../handle/inbox.js'
import type { Services } from '../handle/services.js'
import { preferredLocale } from '../http/language.js'
import { HttpRefusal } from './problem.js'

const BEARER = /^Bearer +([\w.~+/=-]+) *$/i

export class RestCaller implements Caller, LoginTarget {
  readonly front = 'rest'
  userId: UserId | undefined
  login: Login | undefined
  permissions: Waiter['permissions']

  constructor(
    private readonly services: Services,
    private readonly hasGone: () => boolean,
    readonly remoteAddress: string | undefined,
    readonly locale: Locale,
    /** `traceparent` (W3C Trace Context, 3.2). */
    readonly traceParent: string | undefined,
  ) {}

  get target(): LoginTarget {
    return this
  }

  get hasLeft(): boolean {
    return this.hasGone()
  }

  get isGone(): boolean {
    return this.hasGone()
  }

  /**
   * Logs in by an access token for this one request.
   * @returns the account; undefined: there is no `Authorization`
   * @throws GatewayError ERROR_AUTH, ACCOUNT_DISABLED, EMAIL_UNVERIFIED, ERROR_AUTH_FAILED, HttpRefusal
   */
  async authorize({ headersDistinct }: IncomingMessage): Promise<User | undefined> {
    const [header, ...others] = headersDistinct.authorization ?? []
    if (header === undefined) return undefined
    // A proxy may look at the other one (RFC 9110, 5.3).
    if (others.length > 0) throw new HttpRefusal(400, 'authorization', 'is there more than once')
    const [, token] = BEARER.exec(header) ?? []
    if (token === undefined)
      throw new GatewayError('ERROR_AUTH', { field: 'authorization', reason: 'must be Bearer and a token' })
    const { authenticator, limits } = this.services
    const since = authenticator.since()
    const { user, login } = await authenticator.byToken(token)
    since.checkOwner(user.id)
    this.userId = user.id
    this.login = login
    // From before the check on: what is revoked meanwhile counts. No token is a device's.
    this.permissions = since.permissions(user.id, true)
    limits.logins.loggedInFrom(this.remoteAddress)
    return user
  }

  /** A login by REST has no connection: no inbox is delivered to it, and `sessions.multiple` does not count it. */
  async enter({ user, login }: Principal): Promise<void> {
    const { authenticator, limits } = this.services
    this.userId = user.id
    this.login = login
    this.permissions = authenticator.since().permissions(user.id)
    limits.logins.loggedInFrom(this.remoteAddress)
  }

  leave(): void {
    this.userId = undefined
    this.login = undefined
    this.permissions = undefined
  }

  startDelivery(): void {}

  confirm(): boolean {
    return false
  }
}

/** Who asks, before anything says who. */
export function callerOf(
  { services, locale }: { readonly services: Services; readonly locale: Locale },
  { headers, socket }: IncomingMessage,
  response: ServerResponse,
  address: string | undefined,
): RestCaller {
  const asked = preferredLocale(headers['accept-language'], locale)
  const parent = headers.traceparent
  return new RestCaller(
    services,
    () => response.destroyed || socket.destroyed,
    address,
    asked,
    typeof parent === 'string' ? parent : undefined,
  )
}
