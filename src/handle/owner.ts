/** Whoever asks for what only the owner may, and shows it once more: by the password, and the second factor where there is one. */
import type { Secrets } from '../auth/authenticate.js'
import { GatewayError, toGatewayError } from '../core/errors.js'
import type { User, UserId } from '../core/model.js'
import type { Caller, LoggedIn } from './context.js'
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

/**
 * The same of somebody who has logged in. It is no login: an account that is disabled meanwhile or unverified goes on as far as its
 * connection may.
 * @returns makes the code good again; see Passed
 * @throws GatewayError ERROR_AUTH if the password is wrong; see SecondFactors.check and LoginAttempts.attempt
 */
export async function confirmAgain(
  services: Services,
  caller: LoggedIn,
  { password, code }: Secrets,
): Promise<() => Promise<void>> {
  const { accounts, limits } = services
  const { userId, remoteAddress } = caller
  return limits.logins.attempt(remoteAddress, userId, async () => {
    await accounts.confirm(userId, password)
    return showCode(services, caller, code)
  })
}

/** Behind the password; see `confirmAgain`. A code that is missing or refused is in the audit. */
export async function showCode(
  services: Services,
  caller: LoggedIn,
  code: string | undefined,
): Promise<() => Promise<void>> {
  const check = services.factors.check(caller.userId, code)
  const { giveBack } = await check.catch(thrown => {
    recordRefused(services, caller, thrown, caller.userId)
    throw thrown
  })
  return giveBack
}

/** How long a login counts as a code that was just shown, ms. */
const RECENT_MS = 600_000

/**
 * Before somebody who has logged in is given what lets a device in. Nothing is asked for without a second factor, nor shortly after a
 * login by password or passkey, so that many devices need not as many codes, of which there are two a minute.
 * @throws GatewayError SECOND_FACTOR_REQUIRED, or as `confirmAgain`
 */
export async function confirmForDevices(
  services: Services,
  caller: LoggedIn,
  { password, code }: Partial<Secrets>,
): Promise<void> {
  const { since } = await services.factors.state(caller.userId)
  if (since === undefined || (await isRecent(services, caller))) return
  // Only who knows the password may try codes: wrong ones lock out the owner's app.
  if (password === undefined)
    throw new GatewayError('SECOND_FACTOR_REQUIRED', { field: 'password', reason: 'is missing' })
  await confirmAgain(services, caller, { password, code })
}

/** A token counts from the login that it came of. Other issuers ask for no code of ours. */
async function isRecent({ logins }: Services, { userId, login }: LoggedIn): Promise<boolean> {
  const since =
    login.kind === 'token'
      ? (await logins.list(userId)).find(({ id }) => id === login.id)?.createdAt
      : login.kind === 'password' || login.kind === 'passkey'
        ? login.since
        : undefined
  const ageMs = since === undefined ? Infinity : Date.now() - since
  return ageMs >= 0 && ageMs < RECENT_MS
}

export function recordRefused(
  services: Services,
  caller: Caller,
  thrown: unknown,
  userId: UserId | undefined,
): void {
  const { front, remoteAddress } = caller
  const { number: code } = toGatewayError(thrown)
  services.audit.record({ event: 'second-factor.refused', userId, front, remoteAddress, code })
}
