import { CODES, GatewayError, nameStoreFault, toGatewayError } from '../errors.js'
import type { RequestData } from '../request/schema.js'
import type { Handler } from './context.js'

export const handleRegister: Handler<RequestData<'register'>> = async (
  { accounts, audit, limits, log },
  { front, remoteAddress },
  { data, id },
  answer,
) => {
  limits.register(remoteAddress)
  const user = await accounts.register(data).catch(error => {
    throw nameStoreFault(error, 'ERROR_ADD_USER_FAILED')
  })
  log.info({ event: 'account.registered', userId: user.id }, 'account registered')
  audit.record({ event: 'account.registered', userId: user.id, front, remoteAddress })
  answer.ok('REGISTER_SUCCESS', id === undefined ? null : { id: user.id })
}

/** Ends every connection of the account, this one behind its reply. */
export const handleDelete: Handler<RequestData<'delete'>> = async (
  { accounts, audit, inbox, limits, live, log, sessions },
  caller,
  { data },
  answer,
) => {
  const userId = caller.userId
  if (userId === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
  const { front, remoteAddress } = caller
  await limits
    .attempt(remoteAddress, userId, () => accounts.delete(userId, data.password))
    .catch(thrown => {
      const { code } = CODES[toGatewayError(thrown).code]
      audit.record({ event: 'account.delete-refused', userId, front, remoteAddress, code })
      throw thrown
    })
  // No row of theirs lets anybody in without the account.
  await sessions.revoke(
    userId,
    () => true,
    () => {
      audit.record({ event: 'account.deleted', userId, front, remoteAddress })
      inbox.cursors.forget(userId)
      log.info({ event: 'account.deleted', userId }, 'account deleted')
      answer.ok('SUCCESS')
      live.endAll(userId, 'ERROR_CONNECTION_CLOSED')
    },
  )
}
