import type { Secrets } from '../auth/authenticate.js'
import { ASKED } from '../auth/proofs.js'
import { GatewayError, nameStoreFault, toGatewayError } from '../core/errors.js'
import type { User } from '../core/model.js'
import { formatTime } from '../core/time.js'
import type { OfLogin } from '../live/live.js'
import type { RequestData } from '../protocol/requests.js'
import type { Caller, Handler, LoggedIn } from './context.js'
import { confirmAgain } from './owner.js'
import type { Services } from './services.js'

export const handleRegister: Handler<RequestData<'register'>> = async (
  services,
  caller,
  { data, id },
  answer,
) => {
  const { audit, log, loginLog, mail, rules } = services
  const { front, remoteAddress } = caller
  const { user, invite } = await register(services, caller, data).catch(thrown => {
    const error = toGatewayError(thrown)
    loginLog.registered(front, error.kind)
    throw error
  })
  loginLog.registered(front)
  log.info({ event: 'account.registered', userId: user.id }, 'account registered')
  audit.record({ event: 'account.registered', userId: user.id, front, remoteAddress, invite })
  answer.ok('REGISTER_SUCCESS', id === undefined ? null : { id: user.id })
  if (rules.verify !== 'off') mail.ask(user.id, 'verify')
}

/** Of what is written to the owner. */
export const handleLanguage: Handler<RequestData<'language'>, LoggedIn> = async (
  { accounts },
  { userId },
  { data },
  answer,
) => {
  await accounts.change(userId, data)
  answer.ok('SUCCESS')
}

interface Registered {
  readonly user: User
  /** The id of that by which it was made. */
  readonly invite?: string | undefined
}

/** @throws GatewayError */
async function register(
  { accounts, invites, limits, rules }: Services,
  caller: Caller,
  data: RequestData<'register'>,
): Promise<Registered> {
  const { remoteAddress } = caller
  const { registration } = rules
  if (registration === 'closed') throw new GatewayError('REGISTRATION_CLOSED')
  // Wrong invites count as registrations, so that guessing is as slow.
  limits.register(remoteAddress)
  const work = () => accounts.register({ ...data, language: caller.locale })
  const isWanted = () => !caller.isGone
  const hashed = async (invite?: string) => ({
    user: await limits.logins.hash(remoteAddress, '', work, isWanted),
    invite,
  })
  const made = registration === 'invite' ? invites.use(data.invite, hashed) : hashed()
  return made.catch(error => {
    throw nameStoreFault(error, 'ERROR_ADD_USER_FAILED')
  })
}

const ENDED = 'ERROR_CONNECTION_CLOSED'

/** Ends every connection of the account; the one that asks, behind its reply. */
export const handleDelete: Handler<RequestData<'delete'>, LoggedIn> = async (
  services,
  caller,
  { data, id },
  answer,
) => {
  const { audit, live, pendingDeletions } = services
  const { userId, front, remoteAddress } = caller
  const work = pendingDeletions.graceMs > 0 ? deleteLater : deleteNow
  const at = await work(services, caller, data).catch(thrown => {
    const { number: code } = toGatewayError(thrown)
    audit.record({ event: 'account.delete-refused', userId, front, remoteAddress, code })
    throw thrown
  })
  answer.ok('SUCCESS', id === undefined || at === undefined ? null : { deleted_at: formatTime(at) })
  live.endAll(userId, ENDED)
}

/** @throws GatewayError as `confirmAgain` */
async function deleteNow(services: Services, caller: LoggedIn, secrets: Secrets): Promise<undefined> {
  const { accounts } = services
  await confirmAgain(services, caller, secrets)
  const remove = (gone: () => Promise<unknown>) => accounts.remove(caller.userId, gone)
  await removeAccount(services, caller, remove, one => Object.is(one, caller))
}

/** Ends all logins now; `removeDue` removes the account, unless its owner logs in before. @throws GatewayError as `confirmAgain` */
async function deleteLater(services: Services, caller: LoggedIn, secrets: Secrets): Promise<number> {
  const { audit, live, log, logins, pendingDeletions, proofs } = services
  const { userId, front, remoteAddress } = caller
  await confirmAgain(services, caller, secrets)
  const endLive = () => {
    for (const one of live.of(userId)) one.permissions?.revoke()
    live.endAll(userId, ENDED, one => !Object.is(one, caller))
  }
  // First, so that a login which began before is refused, and does not take back what it knows nothing of.
  await logins.revoke(userId, () => true, endLive)
  const at = await pendingDeletions.schedule(userId)
  await proofs.cancel(userId, ['reset', 'change'])
  audit.record({ event: 'account.deletion-scheduled', userId, front, remoteAddress })
  log.info({ event: 'account.deletion-scheduled', userId, at: formatTime(at) }, 'account to be removed')
  return at
}

/** Removes the accounts whose time is over. */
export async function removeDue(services: Services): Promise<void> {
  const { accounts, pendingDeletions } = services
  for (const userId of await pendingDeletions.due()) {
    const about = { userId, front: 'upkeep', remoteAddress: undefined } as const
    await pendingDeletions.remove(userId, async () => {
      // An operator may have removed it meanwhile.
      if ((await accounts.find(userId)) !== undefined)
        await removeAccount(services, about, gone => accounts.remove(userId, gone))
    })
  }
}

/**
 * Removes an account and ends its connections. They lose their rights before its data is removed, so that none of them
 * adds to the data.
 * @param remove removes it from the store; calls `gone` as Accounts.delete does
 * @param isSpared whether a connection is left open; it has no rights any more
 * @throws what `remove` throws before the account is gone
 */
export async function removeAccount(
  { audit, files, inbox, live, log, logins, proofs }: Services,
  { userId, front, remoteAddress }: Pick<LoggedIn, 'userId' | 'remoteAddress'> & { readonly front: string },
  remove: (gone: () => Promise<unknown>) => Promise<unknown>,
  isSpared: (connection: OfLogin) => boolean = () => false,
): Promise<void> {
  let isGone = false
  const gone = () => {
    isGone = true
    const endLive = () => {
      audit.record({ event: 'account.deleted', userId, front, remoteAddress })
      inbox.cursors.forget(userId)
      for (const one of live.of(userId)) one.permissions?.revoke()
      live.endAll(userId, ENDED, one => !isSpared(one))
    }
    return logins.revoke(userId, () => true, endLive)
  }
  const forgetLetters = () => proofs.cancel(userId, [...ASKED, 'undo'])
  await remove(gone)
    .then(forgetLetters)
    .then(() => files.removeAll(userId))
    .catch(thrown => {
      if (!isGone) throw thrown
      // The store removes the rest when it is opened again.
      const about = { event: 'store.failed', operation: 'deleteUser', userId, err: toGatewayError(thrown) }
      log.error(about, 'account not removed whole')
    })
  log.info({ event: 'account.deleted', userId }, 'account deleted')
}
