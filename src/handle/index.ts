/** Request → handler, and the guard before it. */

import { outcomeOf } from '../auth/login-log.js'
import { CODES, GatewayError, toGatewayError } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import { admit } from '../core/model.js'
import type { Request, RequestName } from '../protocol/requests.js'
import { handleDelete, handleRegister } from './account.js'
import type { Answer, Caller, Handler, LoggedIn, Services } from './context.js'
import { handleAck, handleHistory } from './inbox.js'
import { handleLogin } from './login.js'
import {
  handleLogout,
  handleMint,
  handlePassword,
  handleRefresh,
  handleRevoke,
  handleSessions,
} from './logins.js'
import { handleBroadcast, handleMessage } from './message.js'
import { handleQuery } from './query.js'

/**
 * Who may make a request. `anyone`: before login, too. `user`: who has logged in, by a device's credential, too. `owner`:
 * not by a device's credential, which lies in a device that may be stolen: it does not reach over the account itself, and
 * is given nothing that lets anybody in.
 */
type Entry<D> =
  | { readonly access: 'anyone'; readonly run: Handler<D>; readonly isForDevices: boolean }
  | { readonly access: 'user' | 'owner'; readonly run: Handler<D, LoggedIn> }

type Table = { readonly [N in RequestName]: Entry<Extract<Request, { name: N }>['data']> }

const TABLE: Table = {
  register: { access: 'anyone', run: handleRegister, isForDevices: true },
  login: { access: 'anyone', run: handleLogin, isForDevices: false },
  refresh: { access: 'anyone', run: handleRefresh, isForDevices: false },
  query: { access: 'anyone', run: handleQuery, isForDevices: true },
  message: { access: 'user', run: handleMessage },
  broadcast: { access: 'user', run: handleBroadcast },
  history: { access: 'user', run: handleHistory },
  ack: { access: 'user', run: handleAck },
  logout: { access: 'user', run: handleLogout },
  delete: { access: 'owner', run: handleDelete },
  sessions: { access: 'owner', run: handleSessions },
  revoke: { access: 'owner', run: handleRevoke },
  mint: { access: 'owner', run: handleMint },
  password: { access: 'owner', run: handlePassword },
}

/** Whether a device's credential lets its connection make this request. */
export function isForDevices(name: RequestName): boolean {
  const entry = TABLE[name]
  return entry.access === 'anyone' ? entry.isForDevices : entry.access === 'user'
}

/** They change nothing, so that they are worth nothing to a client that has left. */
const READ_ONLY: ReadonlySet<RequestName> = new Set(['query', 'history', 'sessions'])

interface Refused {
  readonly request: RequestName | 'invalid'
  readonly caller: Caller
  readonly answer: Answer
}

/** The one way to a refusal: logged at the level of its code (never a value of the request's), then answered. */
export function refuse(log: Logger, { request, caller, answer }: Refused, thrown: unknown): void {
  const error = toGatewayError(thrown)
  const { code, level } = CODES[error.kind]
  const { userId, remoteAddress } = caller
  const isLogin = request === 'login'
  const what = isLogin ? { front: caller.front, outcome: outcomeOf(error.kind) } : { request }
  const event = isLogin ? 'login.refused' : 'request.refused'
  const about = { event, ...what, userId, remoteAddress, code, ...error.info }
  log[level](error.cause === undefined ? about : { ...about, err: error.cause }, 'request refused')
  answer.refuse(error)
}

/**
 * Runs one request, unless it only reads and nobody is there any more. Never throws: what goes wrong becomes the answer.
 * @returns a promise where the connection's next request must wait for this one
 */
export function handle(
  services: Services,
  caller: Caller,
  request: Request,
  answer: Answer,
): Promise<void> | undefined {
  if (caller.hasLeft && READ_ONLY.has(request.name)) {
    // It is not logged: a client may leave many behind, and nothing went wrong.
    answer.refuse(new GatewayError('ERROR_CONNECTION_CLOSED'))
    return undefined
  }
  const refused = (thrown: unknown) => refuse(services.log, { request: request.name, caller, answer }, thrown)
  try {
    return letIn(caller, request.name)(services, caller, request, answer)?.catch(refused)
  } catch (thrown) {
    refused(thrown)
    return undefined
  }
}

/** The one door. @returns the handler. @throws GatewayError ERROR_UNAUTHORIZED, FORBIDDEN */
function letIn(caller: Caller, name: RequestName): Handler<Request['data']> {
  admit(caller.permissions)
  if (caller.login?.role === 'device' && !isForDevices(name))
    throw new GatewayError('FORBIDDEN', { field: 'action', reason: 'not for devices' })
  const { access, run } = TABLE[name]
  if (access !== 'anyone' && caller.userId === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
  // The table's types pair each name with its data and its caller; TypeScript cannot follow that through an index.
  return run as Handler<Request['data']>
}
