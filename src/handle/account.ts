import { normalizeEmail } from '../accounts/accounts.js'
import { GatewayError, nameStoreFault } from '../errors.js'
import type { RequestData } from '../request/schema.js'
import type { Handler } from './context.js'

export const handleRegister: Handler<RequestData<'register'>> = async (
  { accounts, limits, log },
  caller,
  { data, id },
  answer,
) => {
  limits.register(caller.remoteAddress)
  const user = await accounts.register(data).catch(error => {
    throw nameStoreFault(error, 'ERROR_ADD_USER_FAILED')
  })
  log.info({ event: 'account.registered', userId: user.id }, 'account registered')
  answer.ok('REGISTER_SUCCESS', id === undefined ? null : { id: user.id })
}

/** A failed look-up, hash or first cursor are the same to a client: the login itself failed, and may be tried again. */
export const handleLogin: Handler<RequestData<'login'>> = async (
  { accounts, limits, log },
  caller,
  { data, id },
  answer,
) => {
  if (caller.userId !== undefined) throw new GatewayError('ERROR_MULTIPLE_LOGIN')
  const { email = '', password = '' } = data
  if (email === '' || password === '') throw new GatewayError('ERROR_AUTH')
  const failed = (thrown: unknown): never => {
    throw nameStoreFault(thrown, 'ERROR_AUTH_FAILED')
  }
  const check = () => accounts.authenticate(email, password)
  const user = await limits.attempt(caller.remoteAddress, normalizeEmail(email) || email, check).catch(failed)
  await caller.enter(user, data).catch(failed)
  log.info({ event: 'account.logged-in', userId: user.id, remoteAddress: caller.remoteAddress }, 'logged in')
  answer.ok('LOGIN_SUCCESS', id === undefined ? null : { id: user.id })
  caller.startDelivery()
}

/** Ends every connection of the account, this one behind its reply. */
export const handleDelete: Handler<RequestData<'delete'>> = async (
  { accounts, inbox, limits, live, log },
  caller,
  { data },
  answer,
) => {
  const userId = caller.userId
  if (userId === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
  await limits.attempt(caller.remoteAddress, userId, () => accounts.delete(userId, data.password))
  inbox.cursors.forget(userId)
  log.info({ event: 'account.deleted', userId }, 'account deleted')
  answer.ok('SUCCESS')
  live.endAll(userId, 'ERROR_CONNECTION_CLOSED')
}
