/** How others see an account. */
import { admit } from '../core/model.js'
import { badField } from '../protocol/fields.js'
import { encodeUser } from '../protocol/replies.js'
import type { RequestData } from '../protocol/requests.js'
import type { Handler, LoggedIn } from './context.js'

/**
 * Without the password: nothing of it lets anybody in. A user name that a thief of a login gives up is kept for its owner,
 * who can take it back.
 */
export const handleProfile: Handler<RequestData<'profile'>, LoggedIn> = async (
  { accounts, audit, live },
  { userId, permissions, front, remoteAddress },
  { data, id },
  answer,
) => {
  const { username, firstName, lastName, language, key } = data
  const named = Object.entries({ username, firstName, lastName, language, key }).filter(
    ([, value]) => value !== undefined,
  )
  if (named.length === 0) throw badField('data', 'must name what is to be changed')
  const user = await accounts.changeProfile(userId, Object.fromEntries(named), () => admit(permissions))
  const fields = named.map(([field]) => field).join(',')
  audit.record({ event: 'profile.changed', userId, front, remoteAddress, fields })
  answer.ok('SUCCESS', id === undefined ? null : encodeUser(user, live.isOnline(userId)))
}
