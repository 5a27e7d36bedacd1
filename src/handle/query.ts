import { nameStoreFault } from '../core/errors.js'
import { encodeUser } from '../protocol/replies.js'
import type { RequestData } from '../protocol/requests.js'
import type { Handler } from './context.js'
import type { HandlerRules, Privacy } from './services.js'

/** An empty condition counts as not given. */
const conditionsOf = (data: RequestData<'query'>): RequestData<'query'> =>
  Object.fromEntries(Object.entries(data).filter(([, value]) => value !== ''))

const isNamed = ({ id, email, username }: RequestData<'query'>): boolean =>
  id !== undefined || email !== undefined || username !== undefined

/** Whether the query needs a login: the config says what is answered without one. */
export function queryAccess(rules: HandlerRules, data: RequestData<'query'>): 'anyone' | 'user' {
  const conditions = conditionsOf(data)
  const { anonymousQuery, privacy } = rules
  // A query that names nobody is answered with the one who asks, where listing is for admins.
  const mayList = privacy.listing === 'users' || isNamed(conditions)
  const mayAsk = anonymousQuery === 'all' || (anonymousQuery === 'lookup' && conditions.email !== undefined)
  return mayAsk && mayList ? 'anyone' : 'user'
}

/** Without conditions, users are listed. */
export const handleQuery: Handler<RequestData<'query'>> = async (
  { accounts, live, rules },
  caller,
  { data },
  answer,
) => {
  const { after, ...conditions } = conditionsOf(data)
  const isAdmin = caller.login?.role === 'admin'
  const isWhole = isNamed(conditions) || isAdmin || rules.privacy.listing === 'users'
  // Old clients look for themselves in the list: without themselves they would not work. No account has the id ''.
  const seen = isWhole ? conditions : { ...conditions, id: caller.userId ?? '' }
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
      return encodeUser(shown, learns(presence) && live.isOnline(user.id), rules.publicUrl())
    }),
  )
}
