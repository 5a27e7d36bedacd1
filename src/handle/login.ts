import type { Principal } from '../auth/authenticate.js'
import { outcomeOf } from '../auth/login-log.js'
import { GatewayError, nameStoreFault, toGatewayError } from '../core/errors.js'
import type { RequestData } from '../protocol/requests.js'
import type { Caller, Handler, Services } from './context.js'
import { encodeTokens } from './logins.js'

/** A failed look-up, hash or first cursor are the same to a client: the login itself failed, and may be tried again. */
export const handleLogin: Handler<RequestData<'login'>> = async (services, caller, { data, id }, answer) => {
  const { authenticator, loginLog, audit } = services
  if (caller.userId !== undefined) {
    loginLog.count(caller.front, 'not-allowed')
    throw new GatewayError('ERROR_MULTIPLE_LOGIN')
  }
  const { mark } = authenticator
  const who = await identify(services, caller, data).catch(thrown => failed(services, caller, thrown))
  const userId = who.user.id
  const options = { ...data, ...(who.login.device !== undefined && { device: who.login.device }) }
  await caller.enter(who, options).catch(thrown => failed(services, caller, thrown, who))
  try {
    const tokens = data.token === true ? await openSession(services, who, data.device) : undefined
    // Last: what took rights away before now has ended what it found.
    if (!authenticator.isStillGood(userId, mark)) throw new GatewayError('ERROR_AUTH_FAILED')
    const { remoteAddress, front } = caller
    const { id: session, kind, device } = who.login
    loginLog.accepted({ front, userId, device: options.device, remoteAddress })
    audit.record({ event: 'login.succeeded', userId, front, remoteAddress, session, kind, device })
    const about = { ...(id !== undefined && { id: userId }), ...tokens }
    answer.ok('LOGIN_SUCCESS', id === undefined && tokens === undefined ? null : about)
  } catch (thrown) {
    caller.leave()
    // Where that fails, too, it is a session that nobody has the tokens of.
    if (data.token === true) await services.logins.discard(userId, who.login.id).catch(() => undefined)
    failed(services, caller, thrown, who)
  }
  caller.startDelivery()
}

async function identify(
  { accounts, authenticator, limits }: Services,
  caller: Caller,
  data: RequestData<'login'>,
): Promise<Principal> {
  const { email = '', password = '', token, device } = data
  if (typeof token === 'string') return authenticator.byToken(token, device)
  if (email === '' || password === '') throw new GatewayError('ERROR_AUTH')
  const account = await accounts.keyOf(email)
  const check = () => authenticator.byPassword(email, password, device)
  return limits.attempt(caller.remoteAddress, account, check, () => !caller.isGone)
}

const openSession = async ({ logins }: Services, { user, login }: Principal, device?: string) =>
  encodeTokens(await logins.open(user.id, login.id, device))

/** Says so in the audit. @throws GatewayError always */
function failed({ audit, loginLog }: Services, caller: Caller, thrown: unknown, who?: Principal): never {
  const error = nameStoreFault(toGatewayError(thrown), 'ERROR_AUTH_FAILED')
  const { front, remoteAddress } = caller
  loginLog.count(front, outcomeOf(error.kind))
  const about = { userId: who?.user.id, kind: who?.login.kind, code: error.number }
  audit.record({ event: 'login.failed', ...about, front, remoteAddress })
  throw error
}
