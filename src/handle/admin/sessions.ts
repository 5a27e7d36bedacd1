/** What operators do with logins and connections. */
import type { StoredLogin } from '../../auth/login-rows.js'
import { GatewayError } from '../../core/errors.js'
import type { UserId } from '../../core/model.js'
import { formatTime } from '../../core/time.js'
import type { LiveConnection } from '../../live/live.js'
import type { AdminData } from '../../protocol/admin.js'
import type { Services } from '../services.js'
import { act, type Done, findAccount } from './act.js'

/** Sessions in a reply, where the request does not say how many. */
const LIMIT = 1000

/** A connection that is open now. */
const describeLive = (userId: UserId, { front, login, remoteAddress }: LiveConnection) => ({
  user: userId,
  session: login?.id ?? '',
  front,
  kind: login?.kind ?? '',
  role: login?.role ?? '',
  device: login?.device ?? '',
  address: remoteAddress ?? '',
  online: true,
  since: formatTime(login?.since ?? Date.now()),
})

/** A login that is stored and has no connection now. */
const describeStored = (userId: UserId, { id, kind, device, createdAt }: StoredLogin) => ({
  user: userId,
  session: id,
  front: '',
  kind,
  role: kind === 'token' ? '' : 'device',
  device: device ?? '',
  address: '',
  online: false,
  since: formatTime(createdAt),
})

/** With `user`, stored logins that are not connected, too; without, every connection with a login. */
async function list(services: Services, data: AdminData<'session.list'>): Promise<Done> {
  const { live, logins } = services
  const { limit = LIMIT } = data
  if (data.user === undefined) {
    const ids = [...live.online()]
    const all = ids.flatMap(id => live.of(id).map(one => describeLive(id, one)))
    return { data: { sessions: all.slice(0, limit), total: all.length } }
  }
  const { id } = await findAccount(services, data.user)
  const connections = live.of(id)
  const online = new Set(connections.map(({ login }) => login?.id))
  const stored = (await logins.list(id)).filter(login => !online.has(login.id))
  const all = [
    ...connections.map(one => describeLive(id, one)),
    ...stored.map(login => describeStored(id, login)),
  ]
  return { data: { sessions: all.slice(0, limit), total: all.length }, about: { userId: id } }
}

/** Ends connections. With `revoke`, tokens and credentials are void as well; without, clients may come back. */
async function kick(services: Services, data: AdminData<'session.kick'>): Promise<Done> {
  const { live, logins } = services
  const { session, revoke = false } = data
  const { id } = await findAccount(services, data.user)
  const isMeant = (login: string | undefined) => session === undefined || login === session
  const ended = new Set<string | undefined>()
  const endLive = () => {
    for (const { login } of live.of(id)) if (isMeant(login?.id)) ended.add(login?.id)
    live.endAll(id, 'ERROR_CONNECTION_CLOSED', ({ login }) => isMeant(login?.id))
  }
  const revoked = await logins.revoke(id, login => revoke && isMeant(login.id), endLive)
  for (const one of revoked) ended.add(one)
  if (session !== undefined && ended.size === 0)
    throw new GatewayError('BAD_FIELD', { field: 'session', reason: 'no such session' })
  const count = ended.size
  return { data: { user: id, ended: count, revoked: revoked.length }, about: { userId: id, session, count } }
}

export const SESSION_ACTS = {
  'session.list': act('session.list', 'sessions.listed', list),
  'session.kick': act('session.kick', 'session.kicked', kick),
} as const
