/** Request → handler, and the guard before it. */

import { outcomeOf } from '../auth/login-log.js'
import { CODES, GatewayError, toGatewayError } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import { admit } from '../core/model.js'
import type { Request, RequestName } from '../protocol/requests.js'
import { handleDelete, handleRegister } from './account.js'
import type { Answer, Caller, Handler, Services } from './context.js'
import { handleAck, handleHistory } from './inbox.js'
import { handleLogin } from './login.js'
import { handleBroadcast, handleMessage } from './message.js'
import { handleQuery } from './query.js'
import {
  handleLogout,
  handleMint,
  handlePassword,
  handleRefresh,
  handleRevoke,
  handleSessions,
} from './session.js'

type Table = { readonly [N in RequestName]: Handler<Extract<Request, { name: N }>['data']> }

const HANDLERS: Table = {
  register: handleRegister,
  login: handleLogin,
  query: handleQuery,
  delete: handleDelete,
  refresh: handleRefresh,
  logout: handleLogout,
  sessions: handleSessions,
  revoke: handleRevoke,
  mint: handleMint,
  password: handlePassword,
  ack: handleAck,
  history: handleHistory,
  message: handleMessage,
  broadcast: handleBroadcast,
}

/**
 * A credential lies in a device that may be stolen: it does not reach over the account itself, and is given nothing that
 * lets anybody in.
 */
export const OWNER_ONLY: ReadonlySet<RequestName> = new Set([
  'login',
  'refresh',
  'delete',
  'sessions',
  'revoke',
  'mint',
  'password',
])

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
  const { code, level } = CODES[error.code]
  const { userId, remoteAddress } = caller
  const isLogin = request === 'login'
  const what = isLogin ? { front: caller.front, outcome: outcomeOf(error.code) } : { request }
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
    admit(caller.rights)
    if (caller.session?.role === 'device' && OWNER_ONLY.has(request.name))
      throw new GatewayError('FORBIDDEN', { field: 'action', reason: 'not for devices' })
    // The table's types pair each name with its data; TypeScript cannot follow that through an index.
    const handler = HANDLERS[request.name] as Handler<Request['data']>
    return handler(services, caller, request, answer)?.catch(refused)
  } catch (thrown) {
    refused(thrown)
    return undefined
  }
}
