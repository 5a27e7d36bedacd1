/** What every handler gets: the services below it, the rules from the config, and who asks. */
import type { Accounts } from '../accounts/accounts.js'
import type { Authenticator, Principal } from '../auth/authenticate.js'
import type { LoginLog } from '../auth/login-log.js'
import type { Logins } from '../auth/logins.js'
import type { Audit } from '../core/audit.js'
import type { CodeName, GatewayError, Locale } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { FrontEnd } from '../core/metrics.js'
import type { Login, Permissions, UserId } from '../core/model.js'
import type { Inbox, StoreWaiter } from '../inbox/inbox.js'
import type { Limits } from '../limits/limits.js'
import type { LiveConnections } from '../live/live.js'
import type { RequestData, RequestRules } from '../protocol/requests.js'
import type { MessageIds } from './message-id.js'

/** Who learns what of a user besides the user and admins. */
export interface Privacy {
  readonly email: 'everyone' | 'users' | 'self'
  readonly presence: 'everyone' | 'users' | 'self'
  /** Who may ask for users without naming an id, email or user name; others get themselves. */
  readonly listing: 'users' | 'admins'
}

export interface HandlerRules extends RequestRules {
  readonly anonymousQuery: 'lookup' | 'none' | 'all'
  readonly queryLimit: number
  readonly privacy: Privacy
  readonly maxContentBytes: number
  /** False: a message to someone who is away is refused (10008) instead of kept. */
  readonly offlineDelivery: boolean
  /** Who may send broadcasts. */
  readonly broadcast: 'users' | 'admins' | 'off'
  /** Whether a request `id` may be looked up for a repeat. */
  readonly dedup: boolean
}

export interface Services {
  readonly accounts: Accounts
  readonly authenticator: Authenticator
  readonly logins: Logins
  readonly live: LiveConnections
  readonly inbox: Inbox
  readonly ids: MessageIds
  readonly limits: Limits
  readonly rules: HandlerRules
  readonly log: Logger
  readonly loginLog: LoginLog
  readonly audit: Audit
}

/** Who asks. */
export interface Requester {
  /** undefined before login. */
  readonly userId: UserId | undefined
  /** undefined before login. */
  readonly login: Login | undefined
  /** undefined before login. */
  readonly permissions: Permissions | undefined
  readonly front: FrontEnd
  readonly locale: Locale
  readonly remoteAddress: string | undefined
  /** The connection is over: nobody reads an answer. */
  readonly hasLeft: boolean
  /** No answer can be sent any more, whoever closed it. */
  readonly isGone: boolean
}

/** The connection that a login enters, and that its inbox is delivered to. */
export interface LoginTarget {
  /** Makes this connection the user's. @throws GatewayError ERROR_MULTIPLE_LOGIN */
  enter(who: Principal, options: RequestData<'login'>): Promise<void>
  /** Nobody is logged in any more: what is not confirmed comes again at the next login. */
  leave(): void
  /** Begins delivery; called after the login reply is on its way, so that nothing overtakes it. */
  startDelivery(): void
  /** Explicit ack: everything up to `seq` arrived. @throws GatewayError FORBIDDEN when not asked for at login */
  confirm(seq: number): void
}

/** The connection that asks, as the handlers see it. */
export type Caller = Requester & LoginTarget

/** A caller that has logged in. */
export type LoggedIn = Caller & { readonly userId: UserId; readonly login: Login }

/** The place of one request's reply. Exactly one method is called, once; replies leave in the order of requests. */
export interface Answer extends StoreWaiter {
  ok(code: CodeName, data?: unknown): void
  refuse(error: GatewayError): void
}

/**
 * A handler answers, now or later. Where it returns a promise the connection's next request waits for it;
 * a rejection becomes the refusal.
 */
export type Handler<D, C extends Caller = Caller> = (
  services: Services,
  caller: C,
  request: { readonly data: D; readonly id: string | undefined },
  answer: Answer,
) => void | Promise<void>
