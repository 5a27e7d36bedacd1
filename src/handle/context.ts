/** Who asks, how a handler answers, and what a handler is. */
import type { AdminRole } from '../auth/admin-tokens.js'
import type { Principal } from '../auth/authenticate.js'
import type { CodeName, GatewayError, Locale } from '../core/errors.js'
import type { FrontEnd } from '../core/metrics.js'
import type { Login, Permissions, UserId } from '../core/model.js'
import type { MessageTrace } from '../core/tracing.js'
import type { StoreWaiter } from '../inbox/inbox.js'
import type { AdminRequest } from '../protocol/admin.js'
import type { Request, RequestData } from '../protocol/requests.js'
import type { Services } from './services.js'

/** What the door takes (handle/index.ts). */
export type Asked = Request | AdminRequest

export type AskedName = Asked['name']

/** Who makes a request. */
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
  /** The client closed the connection: nobody reads an answer. */
  readonly hasLeft: boolean
  /** No answer can be sent any more, whoever closed the connection. */
  readonly isGone: boolean
  /** Ends the login: what is not confirmed comes again at the next one. */
  leave(): void
}

/** Who asks as an operator. */
export interface Operator {
  /** Of the token; undefined by the admin socket, which does not tell who of those who may open it. */
  readonly name: string | undefined
  /** `local`: by the admin socket. */
  readonly role: AdminRole | 'local' | undefined
}

/** A connection on which a client logs in by a request, and confirms messages by one. */
export interface LoginTarget {
  /** Makes this connection the user's. @throws GatewayError ERROR_MULTIPLE_LOGIN, TOO_MANY_CONNECTIONS */
  enter(who: Principal, options: RequestData<'login'>): Promise<void>
  /** Begins delivery; called after the login reply is on its way, so that no message overtakes it. */
  startDelivery(): void
  /** Everything up to `seq` arrived. @returns false if explicit acks were not asked for at login */
  confirm(seq: number): boolean
}

export interface Caller extends Requester {
  /** undefined if the protocol has its own login and acknowledgements (MQTT). */
  readonly target?: LoginTarget
  /** Of the front `admin` alone. */
  readonly operator?: Operator
}

/** A caller who has logged in. */
export type LoggedIn = Caller & { readonly userId: UserId; readonly login: Login }

/**
 * The place of one request's reply. Exactly one of the methods is called, once. Replies leave in the order of requests.
 */
export interface Answer extends StoreWaiter {
  trace?: MessageTrace | undefined
  ok(code: CodeName, data?: unknown): void
  refuse(error: GatewayError): void
}

/**
 * Who may make a request. `anyone`: without a login, too. `user`: whoever has logged in. `owner`: a user, and not by a
 * device's credential, which lies in a device that may be stolen: it neither rules the account nor is given anything
 * that lets somebody in. `admin`: an account with that role. `operator`: whoever may open the
 * admin socket, or has a token for it (handle/admin/roles.ts). `nobody`: the
 * config has switched it off.
 */
export type RequestAccess = 'anyone' | 'user' | 'owner' | 'admin' | 'operator' | 'nobody'

/**
 * Answers one request, now or later. Where it returns a promise, the connection's next request waits for that; what it
 * throws or rejects with is answered as the refusal. `handle` has checked the access (handle/index.ts).
 */
export type Handler<D, C extends Caller = Caller> = (
  services: Services,
  caller: C,
  request: { readonly data: D; readonly id: string | undefined },
  answer: Answer,
) => void | Promise<void>
