import type { Principal } from '../auth/authenticate.js'
import { outcomeOf } from '../auth/login-log.js'
import { isAppPassword } from '../auth/secrets.js'
import { GatewayError, nameStoreFault, toGatewayError } from '../core/errors.js'
import type { RequestData } from '../protocol/requests.js'
import type { Caller, Handler, LoginTarget } from './context.js'
import { encodeTokens } from './logins.js'
import type { Services } from './services.js'

export const handleLogin: Handler<RequestData<'login'>> = async (services, caller, { data, id }, answer) => {
  const { authenticator, loginLog } = services
  const { target } = caller
  if (caller.userId !== undefined || target === undefined) {
    loginLog.count(caller.front, 'not-allowed')
    throw new GatewayError('ERROR_MULTIPLE_LOGIN')
  }
  let who: Principal | undefined
  try {
    const { tokens, ...accepted } = await authenticator.guard(async () => {
      who = await identify(services, caller, data)
      return { ...who, tokens: await letIn(services, target, who, data) }
    })
    recordAccepted(services, caller, accepted, data)
    const about = { ...(id !== undefined && { id: accepted.user.id }), ...tokens }
    answer.ok('LOGIN_SUCCESS', id === undefined && tokens === undefined ? null : about)
  } catch (thrown) {
    if (who !== undefined) await undo(services, caller, who, data)
    // Where this fails, it is used up.
    await who?.giveBackCode?.().catch(() => undefined)
    throw recordFailed(services, caller, thrown, who)
  }
  target.startDelivery()
}

async function identify(
  { accounts, authenticator, limits }: Services,
  caller: Caller,
  data: RequestData<'login'>,
): Promise<Principal> {
  const { email = '', password = '', code, token, device, passkey } = data
  if (passkey !== undefined) {
    if (data.email ?? data.password ?? code ?? (typeof token === 'string' ? token : undefined))
      throw new GatewayError('BAD_FIELD', { field: 'passkey', reason: 'not beside another secret' })
    // Nobody guesses one: see below.
    return authenticator.byPasskey(passkey, device)
  }
  if (typeof token === 'string') return authenticator.byToken(token, device)
  if (email === '' || password === '') throw new GatewayError('ERROR_AUTH')
  // Nobody guesses one: a client that sends an old one must not delay its owner's password.
  if (isAppPassword(password)) {
    if (token === true)
      throw new GatewayError('FORBIDDEN', { field: 'token', reason: 'not for app passwords' })
    return authenticator.byApp(email, password, device)
  }
  const account = await accounts.keyOf(email)
  const check = () => authenticator.byPassword(email, { password, code }, device)
  return limits.logins.attempt(caller.remoteAddress, account, check, () => !caller.isGone)
}

/** Makes the connection the user's, and stores the login where the client asked for tokens. */
async function letIn({ logins }: Services, target: LoginTarget, who: Principal, data: RequestData<'login'>) {
  const { user, login } = who
  await target.enter(who, { ...data, ...deviceOf(who) })
  return data.token === true ? encodeTokens(await logins.open(user.id, login.id, data.device)) : undefined
}

/** A token or credential is of one device, whatever the request says. */
const deviceOf = ({ login: { device } }: Principal) => (device === undefined ? {} : { device })

/** Takes back what `letIn` did, as far as it came. */
async function undo(
  { logins }: Services,
  caller: Caller,
  { user, login }: Principal,
  { token }: RequestData<'login'>,
): Promise<void> {
  if (caller.userId === undefined) return
  caller.leave()
  // Where this fails, too, a login stays in the store whose tokens nobody has; it expires.
  if (token === true) await logins.discard(user.id, login.id).catch(() => undefined)
}

function recordAccepted(
  { audit, loginLog }: Services,
  { front, remoteAddress }: Caller,
  { user, login }: Principal,
  data: RequestData<'login'>,
): void {
  const { id: session, kind, device } = login
  const userId = user.id
  loginLog.accepted({ front, userId, device: device ?? data.device, remoteAddress })
  audit.record({ event: 'login.succeeded', userId, front, remoteAddress, session, kind, device })
}

/**
 * Records a failed login. A store that fails at a look-up, at the hash or at the first cursor is one to the client:
 * the login failed and may be tried again.
 * @returns what to refuse it with
 */
function recordFailed(
  { audit, loginLog }: Services,
  caller: Caller,
  thrown: unknown,
  who?: Principal,
): GatewayError {
  const error = nameStoreFault(toGatewayError(thrown), 'ERROR_AUTH_FAILED')
  const { front, remoteAddress } = caller
  loginLog.count(front, outcomeOf(error.kind))
  const about = { userId: who?.user.id, kind: who?.login.kind, code: error.number }
  audit.record({ event: 'login.failed', ...about, front, remoteAddress })
  return error
}
