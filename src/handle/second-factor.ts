/**
 * The second factor of an account. Whoever asks shows the password, and a code where it is on, so that neither needs a login:
 * people with an old client alone do it in a browser.
 */
import type { AuditEvent } from '../core/audit.js'
import { GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { formatTime } from '../core/time.js'
import type { OfLogin } from '../live/live.js'
import type { RequestData } from '../protocol/requests.js'
import type { Caller, Handler, LoggedIn } from './context.js'
import { confirmOwner, loginOf, recordRefused } from './owner.js'
import type { Services } from './services.js'

const ENDED = 'ERROR_CONNECTION_CLOSED'

export const handleSecondFactor: Handler<RequestData<'secondFactor'>, LoggedIn> = async (
  { factors },
  { userId },
  _request,
  answer,
) => {
  const { since, recoveryCodes } = await factors.state(userId)
  answer.ok('SUCCESS', {
    on: since !== undefined,
    ...(since !== undefined && { since: formatTime(since) }),
    recoveryCodes,
  })
}

export const handleBeginSecondFactor: Handler<RequestData<'beginSecondFactor'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const since = services.authenticator.since()
  const user = await confirmed(services, caller, data)
  const begun = await services.factors.begin(user.id, user.email, () => since.check(user.id))
  answer.ok('SUCCESS', begun)
}

/**
 * Ends every other login, and a change of the address that waits: whoever came in, or asked, without a code may be somebody else.
 * The secret, which only whoever began has, stands for the password.
 */
export const handleConfirmSecondFactor: Handler<RequestData<'confirmSecondFactor'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { factors, live, logins, mail, proofs } = services
  const { secret, code, keepDevices = false } = data
  const refusal = () =>
    new GatewayError('ERROR_AUTH', { field: 'secret', reason: 'is wrong, or has expired' })
  const confirm = async (userId: UserId) => ({
    userId,
    recoveryCodes: await factors.confirm(userId, secret, code),
  })
  const { userId, recoveryCodes } = await continued(services, caller, data.email, refusal, confirm)
  record(services, caller, 'second-factor.on', userId)
  const own = caller.login?.id
  const ends = (isDevice: boolean) => !(keepDevices && isDevice)
  const isOwn = (one: OfLogin) => Object.is(one, caller) || (own !== undefined && one.login?.id === own)
  const isOther = (one: OfLogin) => !isOwn(one) && ends(one.login?.role === 'device')
  const endLive = () => live.endAll(userId, ENDED, isOther)
  await logins.revoke(userId, ({ id, kind }) => id !== own && ends(kind !== 'token'), endLive)
  // Whoever asked for it with the password alone may have been somebody else.
  await proofs.cancel(userId, ['change'])
  mail.tell({ kind: 'second-factor-on', userId })
  answer.ok('SUCCESS', { recoveryCodes })
}

export const handleRenewRecoveryCodes: Handler<RequestData<'renewRecoveryCodes'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { id: userId } = await confirmed(services, caller, data)
  const recoveryCodes = await services.factors.renewRecoveryCodes(userId)
  record(services, caller, 'second-factor.codes-renewed', userId)
  services.mail.tell({ kind: 'recovery-codes-renewed', userId })
  answer.ok('SUCCESS', { recoveryCodes })
}

export const handleRemoveSecondFactor: Handler<RequestData<'removeSecondFactor'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { factors, mail } = services
  const { id: userId } = await confirmed(services, caller, data)
  if (!(await factors.remove(userId)))
    throw new GatewayError('BAD_FIELD', { reason: 'no second factor is on' })
  record(services, caller, 'second-factor.off', userId)
  mail.tell({ kind: 'second-factor-off', userId })
  answer.ok('SUCCESS')
}

/** As `confirmOwner`; what is refused is in the audit. */
export async function confirmed(services: Services, caller: Caller, data: RequestData<'beginSecondFactor'>) {
  return confirmOwner(services, caller, data).catch(thrown => {
    recordRefused(services, caller, thrown, caller.userId)
    throw thrown
  })
}

/**
 * The second half of what began with the password: something that only whoever began has stands for it. What is refused is in
 * the audit.
 * @param refusal of an account that is not there, is disabled, or is to be removed since
 * @throws GatewayError as `loginOf`, `refusal`, `work` and LoginAttempts.attempt do
 */
export async function continued<T>(
  services: Services,
  caller: Caller,
  email: string | undefined,
  refusal: () => GatewayError,
  work: (userId: UserId) => Promise<T>,
): Promise<T> {
  const { accounts, limits, pendingDeletions } = services
  const login = loginOf(caller, email)
  const [user, account] = await Promise.all([accounts.findByName(login), accounts.keyOf(login)])
  const goOn = async () => {
    const isLeaving = user !== undefined && (await pendingDeletions.at(user.id)) !== undefined
    if (user === undefined || user.disabledAt !== undefined || isLeaving) throw refusal()
    return work(user.id)
  }
  return limits.logins
    .attempt(caller.remoteAddress, account, goOn, () => !caller.isGone)
    .catch(thrown => {
      recordRefused(services, caller, thrown, user?.id)
      throw thrown
    })
}

export function record(
  { audit }: Services,
  { front, remoteAddress }: Caller,
  event: AuditEvent,
  userId: UserId,
): void {
  audit.record({ event, userId, front, remoteAddress })
}
