import { GatewayError, nameStoreFault } from '../errors.js'
import { encodeUser } from '../request/reply.js'
import type { RequestData } from '../request/schema.js'
import type { Handler } from './context.js'

/** Empty conditions count as not given; without any, users are listed. */
export const handleQuery: Handler<RequestData<'query'>> = async (
  { accounts, live, rules },
  caller,
  { data },
  answer,
) => {
  const { after, ...conditions } = Object.fromEntries(
    Object.entries(data).filter(([, value]) => value !== ''),
  )
  const mayAsk =
    caller.userId !== undefined ||
    rules.anonymousQuery === 'all' ||
    (rules.anonymousQuery === 'lookup' && conditions.email !== undefined)
  if (!mayAsk) throw new GatewayError('ERROR_UNAUTHORIZED')
  const users = await accounts.query(conditions, rules.queryLimit, after).catch(error => {
    throw nameStoreFault(error, 'ERROR_EXIST_USER_FAILED')
  })
  answer.ok(
    'SUCCESS',
    users.map(user => encodeUser(user, live.isOnline(user.id))),
  )
}
