/** What an account does with its logins: tokens, the list, revoking, credentials of devices and app passwords, the password. */

import type { StoredLogin } from '../auth/login-rows.js'
import { newLoginId, type Tokens } from '../auth/logins.js'
import type { AuditEntry, AuditEvent } from '../core/audit.js'
import { GatewayError, toGatewayError } from '../core/errors.js'
import { admit, type UserId } from '../core/model.js'
import { formatTime } from '../core/time.js'
import type { LiveConnection, OfLogin } from '../live/live.js'
import type { RequestData } from '../protocol/requests.js'
import type { Caller, Handler, LoggedIn } from './context.js'
import { confirmForDevices, confirmOwner, showCode } from './owner.js'
import type { Services } from './services.js'

export const encodeTokens = ({ token, refresh, expiresAt }: Tokens) => ({
  token,
  refresh,
  expires: formatTime(expiresAt),
})

const ENDED = 'ERROR_CONNECTION_CLOSED'

/** Needs no login: the refresh token is all that a client has when its access token has expired. */
export const handleRefresh: Handler<RequestData<'refresh'>> = async (services, caller, { data }, answer) => {
  const { logins, live } = services
  const { userId, id, tokens } = await logins.refresh(data.token).catch(thrown => {
    record(services, caller, 'token.refused', { code: toGatewayError(thrown).number })
    throw thrown
  })
  record(services, caller, tokens === undefined ? 'token.reused' : 'token.refreshed', { userId, session: id })
  if (tokens !== undefined) return answer.ok('SUCCESS', encodeTokens(tokens))
  live.endAll(userId, ENDED, isOf(new Set([id])))
  throw new GatewayError('ERROR_AUTH', { field: 'token', reason: 'was used before: its session has ended' })
}

/** Ends the login, its tokens and other connections that came in by them. Only the owner ends a device's credential or an app password. */
export const handleLogout: Handler<RequestData<'logout'>, LoggedIn> = async (
  services,
  caller,
  _request,
  answer,
) => {
  const { userId, login } = caller
  const isKept = login.kind === 'device' || login.kind === 'app'
  const isOwn = (id: string | undefined) => id === login.id && !isKept
  const isOther = (one: OfLogin) => !Object.is(one, caller) && isOwn(one.login?.id)
  const endLive = () => services.live.endAll(userId, ENDED, isOther)
  await services.logins.revoke(userId, ({ id }) => isOwn(id), endLive)
  record(services, caller, 'logout', { userId, session: login.id })
  // The reply comes first: `leave` closes an MQTT connection.
  answer.ok('SUCCESS')
  caller.leave()
}

/** `data` is an object: only a query's reply may carry an array there. */
export const handleSessions: Handler<RequestData<'sessions'>, LoggedIn> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { userId, admin } = accountOf(caller, data.user)
  const stored = await services.logins.list(userId)
  if (admin !== undefined) record(services, caller, 'sessions.listed', { userId, admin })
  answer.ok('SUCCESS', { sessions: describe(stored, services.live.of(userId), caller) })
}

export const handleRevoke: Handler<RequestData<'revoke'>, LoggedIn> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { live, logins } = services
  const { userId, admin } = accountOf(caller, data.user)
  if ((data.session === undefined) === (data.others === undefined))
    throw new GatewayError('BAD_FIELD', { field: 'session', reason: 'either session or others: true' })
  const own = caller.login.id
  const isMeant = (id: string | undefined) => (data.others === true ? id !== own : id === data.session)
  const isEnded = ({ login }: OfLogin) => isMeant(login?.id)
  const ended = new Set<string | undefined>()
  const endLive = () => {
    for (const { login } of live.of(userId).filter(isEnded)) ended.add(login?.id)
    live.endAll(userId, ENDED, one => isEnded(one) && !Object.is(one, caller))
  }
  const revoked = await logins.revoke(
    userId,
    ({ id }) => isMeant(id),
    endLive,
    () => admit(caller.permissions),
  )
  for (const id of revoked) ended.add(id)
  const count = ended.size
  if (count === 0 && data.session !== undefined)
    throw new GatewayError('BAD_FIELD', { field: 'session', reason: 'no such session' })
  record(services, caller, 'session.revoked', { userId, admin, session: data.session, count })
  answer.ok('SUCCESS', { revoked: count })
  // The connection that asks may be one of them: it is answered before it ends.
  live.endAll(userId, ENDED, isEnded)
}

export const handleMint: Handler<RequestData<'mint'>, LoggedIn> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { userId } = caller
  const { authenticator, logins } = services
  // A revocation while this waits for its turn may have been of the login that asks.
  const since = authenticator.since()
  await confirmForDevices(services, caller, data)
  const check = () => since.checkOwner(userId)
  const { id, password, replaced } = await logins.mint(userId, data.device, check)
  record(services, caller, 'credential.minted', { userId, session: id, device: data.device })
  services.live.endAll(userId, ENDED, isOf(new Set(replaced)))
  answer.ok('SUCCESS', { session: id, device: data.device, password })
}

/** For a client that knows no second factor, so the connection that asks need not have logged in. */
export const handleMintAppPassword: Handler<RequestData<'mintAppPassword'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { name } = data
  const since = services.authenticator.since()
  const { id: userId } = await confirmOwner(services, caller, data)
  const { id, password, replaced } = await services.logins.mintApp(userId, name, () =>
    since.checkOwner(userId),
  )
  record(services, caller, 'app-password.minted', { userId, session: id })
  services.mail.tell({ kind: 'app-password-made', userId })
  services.live.endAll(userId, ENDED, isOf(new Set(replaced)))
  answer.ok('SUCCESS', { session: id, name, password })
}

/** Ends every other login of the account, since someone who knows the old password may have one, and tokens of the one that asks. */
export const handlePassword: Handler<RequestData<'password'>, LoggedIn> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { accounts, authenticator, limits, live, logins } = services
  const { userId } = caller
  const { password, newPassword, code, keepDevices = false } = data
  const ends = (isDevice: boolean) => !(keepDevices && isDevice)
  const isOther = (one: OfLogin) => !Object.is(one, caller) && ends(one.login?.role === 'device')
  const endLive = () => live.endAll(userId, ENDED, isOther)
  const endSessions = () => logins.revoke(userId, ({ kind }) => ends(kind !== 'token'), endLive)
  const check = () => admit(caller.permissions)
  const confirm = () => showCode(services, caller, code)
  const about = { password, newPassword, confirm, check, endSessions }
  const change = () => accounts.changePassword(userId, about)
  await limits.logins.attempt(caller.remoteAddress, userId, change).catch(thrown => {
    record(services, caller, 'password.refused', { userId, code: toGatewayError(thrown).number })
    throw thrown
  })
  const since = authenticator.since()
  record(services, caller, 'password.changed', { userId })
  // Whoever asked for these may have been somebody else.
  await services.proofs.cancel(userId, ['reset', 'change'])
  services.mail.tell({ kind: 'password-changed', userId })
  // A session of their own: with the id of the one before, whoever has copied its access token would come in again.
  const open = () => logins.open(userId, newLoginId(), caller.login.device, () => since.check(userId))
  answer.ok('SUCCESS', data.token === true ? encodeTokens(await open()) : null)
}

const isOf = (ids: ReadonlySet<string>) => (connection: OfLogin) =>
  connection.login !== undefined && ids.has(connection.login.id)

/**
 * The caller's own account; for an admin, any.
 * @returns `admin` where it is another's
 * @throws GatewayError FORBIDDEN
 */
function accountOf(caller: LoggedIn, user: UserId | undefined): { userId: UserId; admin?: UserId } {
  const { userId, login } = caller
  if (user === undefined || user === userId) return { userId }
  if (login.role === 'admin') return { userId: user, admin: userId }
  throw new GatewayError('FORBIDDEN', { field: 'user', reason: 'not your account' })
}

function record(
  { audit }: Services,
  { front, remoteAddress }: Caller,
  event: AuditEvent,
  about: Partial<AuditEntry>,
): void {
  audit.record({ event, ...about, front, remoteAddress })
}

/** Stored logins, then those that last as long as their connection: by password, without tokens. */
function describe(stored: readonly StoredLogin[], live: readonly LiveConnection[], caller: LoggedIn) {
  const online = new Map(live.map(one => [one.login?.id, one]))
  const known = new Set(stored.map(({ id }) => id))
  const passing = live.flatMap(({ login }) =>
    login === undefined || known.has(login.id)
      ? []
      : [{ ...login, name: undefined, createdAt: login.since, seenAt: Date.now() }],
  )
  return [...stored, ...passing].map(({ id, kind, name, device, createdAt, seenAt }) => {
    const connection = online.get(id)
    return {
      id,
      kind,
      ...(name !== undefined && { name }),
      device: device ?? '',
      created_at: formatTime(createdAt),
      seen_at: formatTime(connection === undefined ? seenAt : Date.now()),
      online: connection !== undefined,
      address: connection?.remoteAddress ?? '',
      current: id === caller.login.id,
    }
  })
}
