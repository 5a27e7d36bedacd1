/** Logins and what becomes of them: tokens, the list of sessions, revoking, devices' credentials, the password. */

import type { StoredSession, Tokens } from '../auth/logins.js'
import type { AuditEntry, AuditEvent } from '../core/audit.js'
import { CODES, GatewayError, toGatewayError } from '../core/errors.js'
import { admit, type UserId } from '../core/model.js'
import type { LiveConnection } from '../live/live.js'
import { formatTime } from '../protocol/replies.js'
import type { RequestData } from '../protocol/requests.js'
import type { Caller, Handler, Services } from './context.js'

export const encodeTokens = ({ token, refresh, expiresAt }: Tokens) => ({
  token,
  refresh,
  expires: formatTime(expiresAt),
})

const ENDED = 'ERROR_CONNECTION_CLOSED'

/** Needs no login: a client comes back with nothing else. */
export const handleRefresh: Handler<RequestData<'refresh'>> = async (services, caller, { data }, answer) => {
  const { sessions, live } = services
  const { userId, id, tokens } = await sessions.refresh(data.token).catch(thrown => {
    record(services, caller, 'token.refused', { code: CODES[toGatewayError(thrown).code].code })
    throw thrown
  })
  record(services, caller, tokens === undefined ? 'token.reused' : 'token.refreshed', { userId, session: id })
  if (tokens !== undefined) return answer.ok('SUCCESS', encodeTokens(tokens))
  live.endAll(userId, ENDED, isOf(new Set([id])))
  throw new GatewayError('ERROR_AUTH', { field: 'token', reason: 'was used before: its session has ended' })
}

/** Its tokens end, and whoever came in by them. A device's credential is its owner's to revoke. */
export const handleLogout: Handler<RequestData<'logout'>> = async (services, caller, _request, answer) => {
  const { userId, session } = loggedIn(caller)
  const isOwn = (id: string | undefined) => id === session?.id && session?.kind !== 'device'
  const isOther = (one: LiveConnection) => !Object.is(one, caller) && isOwn(one.session?.id)
  const endLive = () => services.live.endAll(userId, ENDED, isOther)
  await services.sessions.revoke(userId, ({ id }) => isOwn(id), endLive)
  record(services, caller, 'logout', { userId, session: session?.id })
  // Before the connection closes, where it does.
  answer.ok('SUCCESS')
  caller.leave()
}

/** An object, since only a query's reply may carry an array in `data`. */
export const handleSessions: Handler<RequestData<'sessions'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { userId, admin } = accountOf(caller, data.user)
  const stored = await services.sessions.list(userId)
  if (admin !== undefined) record(services, caller, 'sessions.listed', { userId, admin })
  answer.ok('SUCCESS', { sessions: describe(stored, services.live.of(userId), caller) })
}

export const handleRevoke: Handler<RequestData<'revoke'>> = async (services, caller, { data }, answer) => {
  const { live, sessions } = services
  const { userId, admin } = accountOf(caller, data.user)
  if ((data.session === undefined) === (data.others === undefined))
    throw new GatewayError('BAD_FIELD', { field: 'session', reason: 'either session or others: true' })
  const own = caller.session?.id
  const isMeant = (id: string | undefined) => (data.others === true ? id !== own : id === data.session)
  const isEnded = ({ session }: LiveConnection) => isMeant(session?.id)
  const ended = new Set<string | undefined>()
  const endLive = () => {
    for (const { session } of live.of(userId).filter(isEnded)) ended.add(session?.id)
    live.endAll(userId, ENDED, one => isEnded(one) && !Object.is(one, caller))
  }
  const revoked = await sessions.revoke(
    userId,
    ({ id }) => isMeant(id),
    endLive,
    () => admit(caller.rights),
  )
  for (const id of revoked) ended.add(id)
  const count = ended.size
  if (count === 0 && data.session !== undefined)
    throw new GatewayError('BAD_FIELD', { field: 'session', reason: 'no such session' })
  record(services, caller, 'session.revoked', { userId, admin, session: data.session, count })
  answer.ok('SUCCESS', { revoked: count })
  // The one that asks, where it is meant: answered before it ends.
  live.endAll(userId, ENDED, isEnded)
}

export const handleMint: Handler<RequestData<'mint'>> = async (services, caller, { data }, answer) => {
  const { userId } = loggedIn(caller)
  const { mark } = services.identity
  const { id, password, replaced } = await services.sessions.mint(userId, data.device, mark)
  record(services, caller, 'credential.minted', { userId, session: id, device: data.device })
  services.live.endAll(userId, ENDED, isOf(new Set(replaced)))
  answer.ok('SUCCESS', { session: id, device: data.device, password })
}

/** Every other session of the account ends: whoever knew the old password may hold one. */
export const handlePassword: Handler<RequestData<'password'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { accounts, limits, live, sessions } = services
  const { userId } = loggedIn(caller)
  const { password, newPassword, keepDevices = false } = data
  const ends = (kind: StoredSession['kind'] | undefined) => !(keepDevices && kind === 'device')
  const isOther = (one: LiveConnection) =>
    !Object.is(one, caller) && ends(one.session?.kind === 'device' ? 'device' : undefined)
  const endLive = () => live.endAll(userId, ENDED, isOther)
  const endSessions = () => sessions.revoke(userId, ({ kind }) => ends(kind), endLive)
  const check = () => admit(caller.rights)
  const change = () => accounts.changePassword(userId, { password, newPassword, check, endSessions })
  await limits.attempt(caller.remoteAddress, userId, change).catch(thrown => {
    record(services, caller, 'password.refused', { userId, code: CODES[toGatewayError(thrown).code].code })
    throw thrown
  })
  record(services, caller, 'password.changed', { userId })
  answer.ok('SUCCESS')
}

const isOf = (ids: ReadonlySet<string>) => (connection: LiveConnection) =>
  connection.session !== undefined && ids.has(connection.session.id)

function loggedIn({ userId, session }: Caller) {
  if (userId === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
  return { userId, session }
}

/** One's own account, or for an admin any. @returns `admin` where it is another's */
function accountOf(caller: Caller, user: UserId | undefined): { userId: UserId; admin?: UserId } {
  const { userId, session } = loggedIn(caller)
  if (user === undefined || user === userId) return { userId }
  if (session?.role === 'admin') return { userId: user, admin: userId }
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

/** Stored ones first; a login by password without tokens is there for as long as its connection. */
function describe(stored: readonly StoredSession[], live: readonly LiveConnection[], caller: Caller) {
  const online = new Map(live.map(one => [one.session?.id, one]))
  const known = new Set(stored.map(({ id }) => id))
  const passing = live.flatMap(({ session }) =>
    session === undefined || known.has(session.id)
      ? []
      : [{ ...session, createdAt: session.since, seenAt: Date.now() }],
  )
  return [...stored, ...passing].map(({ id, kind, device, createdAt, seenAt }) => {
    const connection = online.get(id)
    return {
      id,
      kind,
      device: device ?? '',
      created_at: formatTime(createdAt),
      seen_at: formatTime(connection === undefined ? seenAt : Date.now()),
      online: connection !== undefined,
      address: connection?.remoteAddress ?? '',
      current: id === caller.session?.id,
    }
  })
}
