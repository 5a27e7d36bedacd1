/** Every request: its handler, who may make it, and the one door before it. */
import { GatewayError } from '../core/errors.js'
import { admit } from '../core/model.js'
import type { Request, RequestName } from '../protocol/requests.js'
import { handleDelete, handleRegister } from './account.js'
import type { Answer, Caller, Handler, LoggedIn, RequestAccess } from './context.js'
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
import { broadcastAccess, handleBroadcast, handleMessage } from './message.js'
import { handleQuery, queryAccess } from './query.js'
import { type Refused, refuse } from './refuse.js'
import type { HandlerRules, Services } from './services.js'

/** The access to a request, or how the config and the request decide it. */
type Rule<A extends RequestAccess, D> = A | ((rules: HandlerRules, data: D) => A)

interface Traits {
  /** A login by a device's credential may not make it. Of what only owners may, that need not be said. */
  readonly notForDevices?: true
  /** It changes nothing: it is not run for a client that has left. */
  readonly isReadOnly?: true
}

type Entry<D> = Traits &
  (
    | { readonly access: Rule<'anyone' | 'user', D>; readonly run: Handler<D> }
    | { readonly access: Rule<Exclude<RequestAccess, 'anyone'>, D>; readonly run: Handler<D, LoggedIn> }
  )

type Table = { readonly [N in RequestName]: Entry<Extract<Request, { name: N }>['data']> }

const TABLE: Table = {
  register: { access: 'anyone', run: handleRegister },
  login: { access: 'anyone', run: handleLogin, notForDevices: true },
  refresh: { access: 'anyone', run: handleRefresh, notForDevices: true },
  query: { access: queryAccess, run: handleQuery, isReadOnly: true },
  message: { access: 'user', run: handleMessage },
  broadcast: { access: broadcastAccess, run: handleBroadcast },
  history: { access: 'user', run: handleHistory, isReadOnly: true },
  ack: { access: 'user', run: handleAck },
  logout: { access: 'user', run: handleLogout },
  delete: { access: 'owner', run: handleDelete },
  sessions: { access: 'owner', run: handleSessions, isReadOnly: true },
  revoke: { access: 'owner', run: handleRevoke },
  mint: { access: 'owner', run: handleMint },
  password: { access: 'owner', run: handlePassword },
}

/** Whether a login by a device's credential may make this request, as far as its name says. */
export function isForDevices(name: RequestName): boolean {
  const { access, notForDevices } = TABLE[name]
  return access !== 'owner' && notForDevices !== true
}

/**
 * The one door for requests of every front end: checks the access, then runs the handler. Never throws: what goes wrong
 * is the answer.
 * @returns a promise if the connection's next request must wait for this one; it does not reject
 */
export function handle(
  services: Services,
  caller: Caller,
  request: Request,
  answer: Answer,
): Promise<void> | undefined {
  if (caller.hasLeft && TABLE[request.name].isReadOnly) {
    // Not logged: a client may leave many behind, and nothing went wrong.
    answer.refuse(new GatewayError('ERROR_CONNECTION_CLOSED'))
    return undefined
  }
  try {
    const later = letIn(services.rules, caller, request)(services, caller, request, answer)
    return later ? refuseLater(later, services.log, { request: request.name, caller, answer }) : undefined
  } catch (thrown) {
    refuse(services.log, { request: request.name, caller, answer }, thrown)
    return undefined
  }
}

/** Apart from `handle`: most requests are answered without a promise, and make no closure. */
const refuseLater = (later: Promise<void>, log: Services['log'], refused: Refused): Promise<void> =>
  later.catch(thrown => refuse(log, refused, thrown))

/** @returns the handler @throws GatewayError ERROR_UNAUTHORIZED, FORBIDDEN */
function letIn(rules: HandlerRules, caller: Caller, { name, data }: Request): Handler<Request['data']> {
  admit(caller.permissions)
  if (caller.login?.role === 'device' && !isForDevices(name))
    throw new GatewayError('FORBIDDEN', { field: 'action', reason: 'not for devices' })
  // The table's types pair each name with its data and its caller; TypeScript cannot follow that through an index.
  const { access, run } = TABLE[name] as Entry<Request['data']>
  checkAccess(typeof access === 'string' ? access : access(rules, data), caller, name)
  return run as Handler<Request['data']>
}

function checkAccess(access: RequestAccess, { userId, login }: Caller, name: RequestName): void {
  if (access === 'anyone') return
  if (userId === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
  if (access === 'admin' && login?.role !== 'admin')
    throw new GatewayError('FORBIDDEN', { field: 'type', reason: `${name}s are for admins` })
  if (access === 'nobody')
    throw new GatewayError('FORBIDDEN', { field: 'type', reason: `${name}s are switched off` })
}
