/**
 * Passkeys of an account. As for the second factor, whoever asks shows the password, and a code where it is on, so that none of
 * it needs a login.
 */
import { MAX_PASSKEYS } from '../auth/second-factor/passkeys.js'
import type { Passkey } from '../auth/second-factor/record.js'
import { refusedPasskey } from '../auth/second-factor/webauthn.js'
import { GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { formatTime } from '../core/time.js'
import type { RequestData } from '../protocol/requests.js'
import type { Handler, LoggedIn } from './context.js'
import { confirmed, continued, record } from './second-factor.js'

const told = (passkeys: readonly Passkey[]) =>
  passkeys.map(({ id, name, createdAt }) => ({ id, name, created_at: formatTime(createdAt) }))

export const handlePasskeys: Handler<RequestData<'passkeys'>, LoggedIn> = async (
  { passkeys },
  { userId },
  _request,
  answer,
) => {
  answer.ok('SUCCESS', { passkeys: told(await passkeys.list(userId)) })
}

/** With `list`, one password and one code show all passkeys and begin another, where there is room. */
export const handleBeginPasskey: Handler<RequestData<'beginPasskey'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const since = services.authenticator.since()
  const user = await confirmed(services, caller, data)
  const begin = () => services.passkeys.begin(user.id, user.email, () => since.check(user.id))
  if (data.list === undefined) return answer.ok('SUCCESS', await begin())
  const passkeys = await services.passkeys.list(user.id)
  const options = passkeys.length < MAX_PASSKEYS ? { options: await begin() } : {}
  answer.ok('SUCCESS', { passkeys: told(passkeys), ...options })
}

/** The challenge, which only whoever began has, stands for the password. */
export const handleAddPasskey: Handler<RequestData<'addPasskey'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { mail, passkeys } = services
  const add = async (userId: UserId) => ({
    userId,
    ...(await passkeys.add(userId, data.passkey, data.name)),
  })
  const { userId, id, name } = await continued(services, caller, data.email, refusedPasskey, add)
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
