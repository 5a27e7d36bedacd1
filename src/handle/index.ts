/** The one door before every request: who may make it. */
import { GatewayError } from '../core/errors.js'
import { admit } from '../core/model.js'
import type { RequestName } from '../protocol/requests.js'
import type { Answer, Asked, AskedName, Caller, Handler, RequestAccess } from './context.js'
import { type Refused, refuse } from './refuse.js'
import type { HandlerRules, Services } from './services.js'
import { type Entry, TABLE } from './table.js'

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
  request: Asked,
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
function letIn(rules: HandlerRules, caller: Caller, { name, data }: Asked): Handler<Asked['data']> {
  admit(caller.permissions)
  if (caller.login?.role === 'device' && !isForDevices(name as RequestName))
    throw new GatewayError('FORBIDDEN', { field: 'action', reason: 'not for devices' })
  // The table's types pair each name with its data and its caller; TypeScript cannot follow that through an index.
  const { access, run } = TABLE[name] as Entry<Asked['data']>
  checkAccess(typeof access === 'string' ? access : access(rules, data), caller, name)
  return run as Handler<Asked['data']>
}

function checkAccess(access: RequestAccess, { userId, login, front }: Caller, name: AskedName): void {
  if (access === 'anyone') return
  if (access === 'operator') {
    refuseClients(front)
    return
  }
  if (userId === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
  if (access === 'admin' && login?.role !== 'admin')
    throw new GatewayError('FORBIDDEN', { field: 'type', reason: `${name}s are for admins` })
  if (access === 'nobody')
    throw new GatewayError('FORBIDDEN', { field: 'type', reason: `${name}s are switched off` })
}

/** No client can name such a request; this is the second lock. */
function refuseClients(front: Caller['front']): void {
  if (front !== 'admin') throw new GatewayError('FORBIDDEN', { field: 'action', reason: 'for operators' })
}
