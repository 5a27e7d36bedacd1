import { GatewayError, nameStoreFault } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { encodeUser } from '../protocol/replies.js'
import type { RequestData } from '../protocol/requests.js'
import type { Caller, Handler, Privacy } from './context.js'

function self({ userId }: Caller): UserId {
  if (userId === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
  return userId
}

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
  const isNamed = ['id', 'email', 'username'].some(name => conditions[name] !== undefined)
  const isAdmin = caller.login?.role === 'admin'
  const whole = isNamed || isAdmin || rules.privacy.listing === 'users'
  // Old clients look for themselves in the list: without themselves they would not work.
  const seen = whole ? conditions : { ...conditions, id: self(caller) }
  const users = await accounts.query(seen, rules.queryLimit, after).catch(error => {
    throw nameStoreFault(error, 'ERROR_EXIST_USER_FAILED')
  })
  answer.ok(
    'SUCCESS',
    users.map(user => {
      const learns = (who: Privacy['email']) =>
        who === 'everyone' ||
        isAdmin ||
        user.id === caller.userId ||
        (who === 'users' && caller.userId !== undefined)
      const { email, presence } = rules.privacy
      const shown = learns(email) ? user : { ...user, email: '' }
      return encodeUser(shown, learns(presence) && live.isOnline(user.id))
    }),
  )
}
