/** Which role may make which request of operators. */
import { ADMIN_ROLES, type AdminRole } from '../../auth/admin-tokens.js'
import { GatewayError } from '../../core/errors.js'
import type { AdminData, AdminName } from '../../protocol/admin.js'
import type { Operator } from '../context.js'

/** `local`: whoever may open the admin socket, who could read and write the store as well. No token has that role. */
type Needed = AdminRole | 'local'

type Rule<N extends AdminName> = Needed | ((data: AdminData<N>) => Needed)

export const NEEDED_ROLES: { readonly [N in AdminName]: Rule<N> } = {
  'user.list': 'viewer',
  'user.show': 'viewer',
  'user.create': 'admin',
  'user.disable': 'admin',
  'user.enable': 'admin',
  'user.verify': 'admin',
  'user.rename': 'admin',
  'user.delete': 'admin',
  'user.export': 'admin',
  'user.reset-password': 'admin',
  'user.import': 'admin',
  'user.second-factor-off': 'admin',
  'user.grant': 'admin',
  'user.revoke-role': 'admin',
  'invite.create': 'admin',
  'invite.list': 'admin',
  'invite.revoke': 'admin',
  'session.list': 'viewer',
  'session.kick': 'operator',
  // What people wrote to each other is not for everybody who looks after a server.
  'inbox.show': ({ text }) => (text === true ? 'admin' : 'viewer'),
  'inbox.purge': 'operator',
  'message.trace': 'viewer',
  // It writes a file on the gateway's machine, wherever the request says.
  backup: 'local',
  stats: 'viewer',
  drain: 'operator',
  reload: 'operator',
  'log.level': ({ level }) => (level === undefined ? 'viewer' : 'operator'),
  // In the name of anybody.
  'broadcast.send': ({ from }) => (from === undefined ? 'operator' : 'admin'),
  // A token that was stolen makes no further ones.
  'admin-token.create': 'local',
  'admin-token.list': 'admin',
  'admin-token.revoke': 'admin',
}

const RANKS: readonly Needed[] = [...ADMIN_ROLES, 'local']

/** @throws GatewayError FORBIDDEN */
export function checkRole<N extends AdminName>(name: N, data: AdminData<N>, { role }: Operator): void {
  const rule: Rule<N> = NEEDED_ROLES[name]
  const needed = typeof rule === 'function' ? rule(data) : rule
  if (role !== undefined && RANKS.indexOf(role) >= RANKS.indexOf(needed)) return
  const reason =
    needed === 'local' ? 'by the admin socket of the gateway alone' : `needs a token with the role ${needed}`
  throw new GatewayError('FORBIDDEN', { field: 'action', reason })
}
