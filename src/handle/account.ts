import { nameStoreFault, toGatewayError } from '../core/errors.js'
import type { RequestData } from '../protocol/requests.js'
import type { Handler, LoggedIn } from './context.js'

export const handleRegister: Handler<RequestData<'register'>> = async (
  { accounts, audit, limits, log },
  caller,
  { data, id },
  answer,
) => {
  const { front, remoteAddress } = caller
  limits.register(remoteAddress)
  const work = () => accounts.register(data)
  const isWanted = () => !caller.isGone
  const user = await limits.logins.hash(remoteAddress, '', work, isWanted).catch(error => {
    throw nameStoreFault(error, 'ERROR_ADD_USER_FAILED')
  })
  log.info({ event: 'account.registered', userId: user.id }, 'account registered')
  audit.record({ event: 'account.registered', userId: user.id, front, remoteAddress })
  answer.ok('REGISTER_SUCCESS', id === undefined ? null : { id: user.id })
}

const ENDED = 'ERROR_CONNECTION_CLOSED'

/** Ends every connection of the account; the one that asks, behind its reply. */
export const handleDelete: Handler<RequestData<'delete'>, LoggedIn> = async (
  { accounts, audit, inbox, limits, live, log, logins },
  caller,
  { data },
  answer,
) => {
  const { userId, front, remoteAddress } = caller
  let isGone = false
  /** Its connections lose their rights before its data is removed, so that none of them adds to the data. */
  const gone = () => {
    isGone = true
    const endLive = () => {
      audit.record({ event: 'account.deleted', userId, front, remoteAddress })
      inbox.cursors.forget(userId)
      for (const one of live.of(userId)) one.permissions?.revoke()
      live.endAll(userId, ENDED, one => !Object.is(one, caller))
    }
    return logins.revoke(userId, () => true, endLive)
  }
  await limits.logins
    .attempt(remoteAddress, userId, () => accounts.delete(userId, data.password, gone))
    .catch(thrown => {
      const error = toGatewayError(thrown)
      if (!isGone) {
        audit.record({
          event: 'account.delete-refused',
          userId,
          front,
          remoteAddress,
          code: error.number,
        })
        throw thrown
      }
      // The store removes the rest when it is opened again.
      log.error(
        { event: 'store.failed', operation: 'deleteUser', userId, err: error },
        'account not removed whole',
      )
    })
  log.info({ event: 'account.deleted', userId }, 'account deleted')
  answer.ok('SUCCESS')
  live.endAll(userId, ENDED)
}
