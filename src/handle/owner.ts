/** Whoever asks for what only the owner may, and shows it once more: by the password, and the second factor where there is one. */
import type { Secrets } from '../auth/authenticate.js'
import { GatewayError } from '../core/errors.js'
import type { User } from '../core/model.js'
import type { Caller } from './context.js'
import type { Services } from './services.js'

interface Claim extends Secrets {
  /** Email or user id; not needed where the caller has logged in. */
  readonly email?: string
}

/** @throws GatewayError BAD_FIELD {field: 'email'} @returns email or user id */
export function loginOf({ userId }: Caller, email: string | undefined): string {
  if (userId === undefined && email === undefined)
    throw new GatewayError('BAD_FIELD', { field: 'email', reason: 'is missing' })
  if (userId !== undefined && email !== undefined)
    throw new GatewayError('BAD_FIELD', { field: 'email', reason: 'not where you are logged in' })
  return userId ?? email ?? ''
}

/** @throws GatewayError as `loginOf`, Authenticator.confirm and LoginAttempts.attempt do */
export async function confirmOwner(
  { accounts, authenticator, limits }: Services,
  caller: Caller,
  { email, password, code }: Claim,
): Promise<User> {
  const login = loginOf(caller, email)
  const account = await accounts.keyOf(login)
  const confirm = () => authenticator.confirm(login, { password, code })
  const { user } = await limits.logins.attempt(caller.remoteAddress, account, confirm, () => !caller.isGone)
  return user
}
