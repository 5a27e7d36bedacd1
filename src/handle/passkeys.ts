/**
 * Passkeys of an account. As for the second factor, whoever asks shows the password, and a code where it is on, so that none of
 * it needs a login.
 */
import { refusedPasskey } from '../auth/second-factor/webauthn.js'
import { GatewayError } from '../core/errors.js'
import { formatTime } from '../core/time.js'
import type { RequestData } from '../protocol/requests.js'
import type { Handler, LoggedIn } from './context.js'
import { loginOf } from './owner.js'
import { confirmed, record, recordRefused } from './second-factor.js'

export const handlePasskeys: Handler<RequestData<'passkeys'>, LoggedIn> = async (
  { passkeys },
  { userId },
  _request,
  answer,
) => {
  const all = await passkeys.list(userId)
  const told = all.map(({ id, name, createdAt }) => ({ id, name, created_at: formatTime(createdAt) }))
  answer.ok('SUCCESS', { passkeys: told })
}

export const handleBeginPasskey: Handler<RequestData<'beginPasskey'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const since = services.authenticator.since()
  const user = await confirmed(services, caller, data)
  answer.ok('SUCCESS', await services.passkeys.begin(user.id, user.email, () => since.check(user.id)))
}

/** The challenge, which only whoever began has, stands for the password. */
export const handleAddPasskey: Handler<RequestData<'addPasskey'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { accounts, limits, mail, passkeys, pendingDeletions } = services
  const login = loginOf(caller, data.email)
  const [user, account] = await Promise.all([accounts.findByName(login), accounts.keyOf(login)])
  const add = async () => {
    if (user === undefined || user.disabledAt !== undefined) throw refusedPasskey()
    // The account is to be removed since the challenge was made.
    if ((await pendingDeletions.at(user.id)) !== undefined) throw refusedPasskey()
    return { userId: user.id, ...(await passkeys.add(user.id, data.passkey, data.name)) }
  }
  const { userId, id, name } = await limits.logins
    .attempt(caller.remoteAddress, account, add, () => !caller.isGone)
    .catch(thrown => {
      recordRefused(services, caller, thrown, user?.id)
      throw thrown
    })
  record(services, caller, 'passkey.added', userId)
  mail.tell({ kind: 'passkey-added', userId })
  answer.ok('SUCCESS', { id, name })
}

export const handleRemovePasskey: Handler<RequestData<'removePasskey'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { id: userId } = await confirmed(services, caller, data)
  if (!(await services.passkeys.remove(userId, data.passkey)))
    throw new GatewayError('BAD_FIELD', { field: 'passkey', reason: 'no such passkey' })
  record(services, caller, 'passkey.removed', userId)
  answer.ok('SUCCESS')
}

/** Before a login by whichever passkey the browser has. */
export const handleAskPasskey: Handler<RequestData<'askPasskey'>> = async (
  { passkeys },
  _caller,
  _request,
  answer,
) => {
  answer.ok('SUCCESS', await passkeys.ask())
}
