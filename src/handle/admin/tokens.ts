/** What operators do with the tokens by which others of them are let in over HTTP. */
import type { AdminToken } from '../../auth/admin-tokens.js'
import { GatewayError } from '../../core/errors.js'
import { formatTime } from '../../core/time.js'
import type { AdminData } from '../../protocol/admin.js'
import type { Services } from '../services.js'
import { act, type Done } from './act.js'

const describe = ({ name, role, createdAt, expiresAt }: AdminToken) => ({
  name,
  role,
  created_at: formatTime(createdAt),
  expires_at: expiresAt === 0 ? '' : formatTime(expiresAt),
  expired: expiresAt !== 0 && expiresAt <= Date.now(),
})

async function create({ adminTokens }: Services, data: AdminData<'admin-token.create'>): Promise<Done> {
  const { name, role = 'viewer', expires } = data
  const expiresAt = expires === undefined ? 0 : Date.parse(expires)
  // Also what is no time.
  if (expires !== undefined && !(expiresAt > Date.now()))
    throw new GatewayError('BAD_FIELD', { field: 'expires', reason: 'must be a time to come, as 2030-01-31' })
  const token = await adminTokens.create({ name, role, expiresAt })
  return {
    data: { ...describe({ name, role, expiresAt, createdAt: Date.now() }), token },
    about: { token: name },
  }
}

async function list({ adminTokens }: Services): Promise<Done> {
  return { data: { tokens: (await adminTokens.list()).map(describe) } }
}

async function revoke({ adminTokens }: Services, { name }: AdminData<'admin-token.revoke'>): Promise<Done> {
  if (!(await adminTokens.revoke(name)))
    throw new GatewayError('BAD_FIELD', { field: 'name', reason: 'no such token' })
  return { data: { name }, about: { token: name } }
}

export const TOKEN_ACTS = {
  'admin-token.create': act('admin-token.create', 'admin-token.created', create),
  'admin-token.list': act('admin-token.list', 'admin-tokens.listed', list),
  'admin-token.revoke': act('admin-token.revoke', 'admin-token.revoked', revoke),
} as const
