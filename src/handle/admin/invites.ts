/** What operators do with invites. */
import type { Invite } from '../../accounts/invites.js'
import { formatTime } from '../../core/time.js'
import type { AdminData } from '../../protocol/admin.js'
import type { Services } from '../services.js'
import { act, type Done } from './act.js'

/** Times are those of the wire. */
const describe = ({ id, uses, used, createdAt, expiresAt }: Invite) => ({
  ...{ id, uses, used },
  created_at: formatTime(createdAt),
  ...(expiresAt !== 0 && { expires_at: formatTime(expiresAt) }),
})

async function create({ invites }: Services, data: AdminData<'invite.create'>): Promise<Done> {
  const { uses = 1, seconds } = data
  const expiresAt = seconds === undefined ? 0 : Date.now() + seconds * 1000
  const { code, ...invite } = await invites.create(uses, expiresAt)
  return { data: { code, ...describe(invite) }, about: { invite: invite.id } }
}

async function list({ invites }: Services): Promise<Done> {
  return { data: { invites: (await invites.list()).map(describe) } }
}

async function revoke({ invites }: Services, { invite }: AdminData<'invite.revoke'>): Promise<Done> {
  const revoked = await invites.revoke(invite)
  return { data: describe(revoked), about: { invite: revoked.id } }
}

export const INVITE_ACTS = {
  'invite.create': act('invite.create', 'invite.created', create),
  'invite.list': act('invite.list', 'invites.listed', list),
  'invite.revoke': act('invite.revoke', 'invite.revoked', revoke),
} as const
