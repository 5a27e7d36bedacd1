/** What operators do with accounts. */
import { randomBytes } from 'node:crypto'
import { ASKED } from '../../auth/proofs.js'
import { GatewayError } from '../../core/errors.js'
import type { User, UserId } from '../../core/model.js'
import { formatTime } from '../../core/time.js'
import type { AdminData } from '../../protocol/admin.js'
import { removeAccount } from '../account.js'
import type { Services } from '../services.js'
import { act, type Done, findAccount } from './act.js'

/** Accounts in a reply, where the request does not say how many. */
const PAGE = 100
/** Accounts read at a time while those with a role, or disabled ones, are looked for. */
const READ = 500

const ENDED = 'ERROR_CONNECTION_CLOSED'

/** An account as operators see it. Times are those of the wire. */
function describe({ authenticator, live }: Services, user: User) {
  const { id, email, username, firstName, lastName, createdAt, disabledAt, verifiedAt } = user
  return {
    ...{ id, email, username, firstName, lastName },
    role: authenticator.isAdmin(user) ? 'admin' : 'user',
    disabled: disabledAt !== undefined,
    online: live.isOnline(id),
    created_at: formatTime(createdAt),
    ...(verifiedAt !== undefined && { verified_at: formatTime(verifiedAt) }),
    ...(disabledAt !== undefined && { disabled_at: formatTime(disabledAt) }),
  }
}

/** Oldest first. `next`: there may be more; it is the `after` of the next page. */
async function list(services: Services, data: AdminData<'user.list'>): Promise<Done> {
  const { after, limit = PAGE, role, disabled } = data
  const isMeant = (user: User) =>
    (role === undefined || services.authenticator.isAdmin(user)) &&
    (disabled === undefined || user.disabledAt !== undefined)
  const read = role === undefined && disabled === undefined ? limit : READ
  const found: User[] = []
  let from = after
  for (let isMore = true; isMore; ) {
    const page = await services.accounts.query({}, read, from)
    for (const user of page) {
      if (isMeant(user)) found.push(user)
      from = user.id
      if (found.length === limit) break
    }
    isMore = page.length === read && found.length < limit
  }
  const users = found.map(user => describe(services, user))
  return { data: { users, ...(found.length === limit && { next: from }) } }
}

async function show(services: Services, data: AdminData<'user.show'>): Promise<Done> {
  const user = await findAccount(services, data.user)
  const { factors, files, inbox, live, logins, pendingDeletions } = services
  const [last, first, bytes, furthest, stored, deletedAt, factor, usage] = await Promise.all([
    inbox.store.lastSeq(user.id),
    inbox.store.firstSeq(user.id),
    inbox.store.inboxBytes(user.id),
    inbox.cursors.furthest(user.id),
    logins.list(user.id),
    pendingDeletions.at(user.id),
    factors.state(user.id),
    files.rows.usage(user.id),
  ])
  const connections = live.of(user.id).length
  const kept = { messages: last - first + 1, bytes, last_seq: last, confirmed_seq: furthest }
  const about = { userId: user.id }
  const { since, recoveryCodes, passkeys } = factor
  const second = since !== undefined && { since: formatTime(since), recovery_codes: recoveryCodes }
  const leaves = deletedAt !== undefined && { deleted_at: formatTime(deletedAt) }
  return {
    data: {
      ...describe(services, user),
      second_factor: second,
      passkeys: passkeys.length,
      ...leaves,
      connections,
      logins: stored.length,
      inbox: kept,
      files: { count: usage.files, bytes: usage.bytes },
    },
    about,
  }
}

/** 16 characters, 96 bits. */
const makePassword = (): string => randomBytes(12).toString('base64url')

async function create(services: Services, data: AdminData<'user.create'>): Promise<Done> {
  const { email, password = makePassword(), username, role } = data
  const [local = ''] = email.split('@', 1)
  const { firstName = local, lastName = '-' } = data
  const user = await services.accounts.register({
    ...{ email, password, firstName, lastName },
    ...(username !== undefined && { username }),
    ...(role && { role }),
    isVerified: true,
    mayBeReserved: true,
  })
  services.loginLog.registered('admin')
  const made = data.password === undefined && { password }
  return { data: { ...describe(services, user), ...made }, about: { userId: user.id } }
}

/**
 * Its connections and tokens end, and what its letters were good for; credentials of its devices stay, and are good again
 * when it is enabled.
 */
async function disable(services: Services, data: AdminData<'user.disable'>): Promise<Done> {
  const { accounts, live, logins, proofs } = services
  const { id, disabledAt = Date.now() } = await findAccount(services, data.user)
  const user = await accounts.change(id, { disabledAt })
  const count = live.of(id).length
  const endLive = () => live.endAll(id, 'ACCOUNT_DISABLED')
  await logins.revoke(id, ({ kind }) => kind === 'token', endLive)
  await proofs.cancel(id, ASKED)
  return { data: { ...describe(services, user), ended: count }, about: { userId: id, count } }
}

async function enable(services: Services, data: AdminData<'user.enable'>): Promise<Done> {
  const { id } = await findAccount(services, data.user)
  const user = await services.accounts.change(id, { disabledAt: null })
  return { data: describe(services, user), about: { userId: id } }
}

async function remove(services: Services, data: AdminData<'user.delete'>): Promise<Done> {
  const user = await findAccount(services, data.user)
  const { id: userId } = user
  await removeAccount(services, { userId, front: 'admin', remoteAddress: undefined }, gone =>
    services.accounts.remove(userId, gone),
  )
  return { data: { id: userId, email: user.email } }
}

/** A part of everything that is stored of the account. */
async function exportPart(services: Services, data: AdminData<'user.export'>): Promise<Done> {
  const { id } = await findAccount(services, data.user)
  return { data: await services.operation.exportPage(id, data.from), about: { userId: id } }
}

/** Ends every login of the account, since whoever knows the old password may have one. */
async function resetPassword(services: Services, data: AdminData<'user.reset-password'>): Promise<Done> {
  const { accounts, live, logins, mail, proofs } = services
  const { password = makePassword(), keepDevices = false } = data
  const user = await findAccount(services, data.user)
  const { id } = user
  if (data.mail) {
    if (data.password !== undefined)
      throw new GatewayError('BAD_FIELD', { field: 'mail', reason: 'not with a password' })
    // No letter is written to it.
    if (user.disabledAt !== undefined)
      throw new GatewayError('BAD_FIELD', { field: 'user', reason: 'is disabled: enable it first' })
    await proofs.cancel(id, ['change'])
    await mail.put({ kind: 'reset', userId: id })
    return { data: { id, email: user.email, mailed: true }, about: { userId: id } }
  }
  const ends = (isDevice: boolean) => !(keepDevices && isDevice)
  const endLive = () => live.endAll(id, ENDED, ({ login }) => ends(login?.role === 'device'))
  const endSessions = () => logins.revoke(id, ({ kind }) => ends(kind !== 'token'), endLive)
  await accounts.resetPassword(id, password, endSessions)
  // Whoever knew the old password may have asked for these.
  await proofs.cancel(id, ASKED)
  mail.tell({ kind: 'password-changed', userId: id })
  return { data: { id, ...(data.password === undefined && { password }) }, about: { userId: id } }
}

/** The operator knows that the address is its owner's. */
async function verify(services: Services, { user }: AdminData<'user.verify'>): Promise<Done> {
  const { id } = await findAccount(services, user)
  const changed = await services.accounts.change(id, { verifiedAt: Date.now() })
  return { data: describe(services, changed), about: { userId: id } }
}

/** For whoever has lost the app and the recovery codes, and has shown the operator who they are. */
async function secondFactorOff(services: Services, data: AdminData<'user.second-factor-off'>): Promise<Done> {
  const user = await findAccount(services, data.user)
  const { id } = user
  const wasOn = await services.factors.removeAll(id)
  if (wasOn) services.mail.tell({ kind: 'second-factor-off', userId: id })
  return { data: { id, email: user.email, wasOn }, about: { userId: id } }
}

/** Also to a name that the config reserves. */
async function rename(services: Services, data: AdminData<'user.rename'>): Promise<Done> {
  const { id } = await findAccount(services, data.user)
  const { username } = data
  const changed = await services.accounts.changeProfile(id, { username }, undefined, true)
  return { data: describe(services, changed), about: { userId: id, fields: 'username' } }
}

/** Logins from now on have the role; open connections keep the one that they have. */
async function grant(services: Services, { user, role }: AdminData<'user.grant'>): Promise<Done> {
  const { id } = await findAccount(services, user)
  const changed = await services.accounts.change(id, { role })
  return { data: describe(services, changed), about: { userId: id } }
}

/** Ends the connections of the account, which have the role. */
async function revokeRole(services: Services, data: AdminData<'user.revoke-role'>): Promise<Done> {
  const { accounts, authenticator, live, logins } = services
  const { role: _, ...without } = await findAccount(services, data.user)
  const { id } = without
  // Before anything is changed: what is refused is not done by half.
  if (authenticator.isAdmin(without)) throw new GatewayError('FORBIDDEN', byConfig(id))
  const user = await accounts.change(id, { role: null })
  await logins.revoke(
    id,
    () => false,
    () => live.endAll(id, ENDED),
  )
  return { data: describe(services, user), about: { userId: id } }
}

const byConfig = (id: UserId) => ({ field: 'user', reason: `roles.admins of the config names ${id}` })

export const USER_ACTS = {
  'user.list': act('user.list', 'accounts.listed', list),
  'user.show': act('user.show', 'account.shown', show),
  'user.create': act('user.create', 'account.created', create),
  'user.disable': act('user.disable', 'account.disabled', disable),
  'user.enable': act('user.enable', 'account.enabled', enable),
  'user.delete': act('user.delete', undefined, remove),
  'user.export': act('user.export', 'account.exported', exportPart),
  'user.reset-password': act('user.reset-password', 'password.reset', resetPassword),
  'user.verify': act('user.verify', 'email.verified', verify),
  'user.second-factor-off': act('user.second-factor-off', 'second-factor.off', secondFactorOff),
  'user.rename': act('user.rename', 'profile.changed', rename),
  'user.grant': act('user.grant', 'role.granted', grant),
  'user.revoke-role': act('user.revoke-role', 'role.revoked', revokeRole),
} as const
