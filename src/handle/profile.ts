/** How others see an account. */
import { admit } from '../core/model.js'
import { badField } from '../protocol/fields.js'
import { encodeUser, imageUrl } from '../protocol/replies.js'
import type { RequestData } from '../protocol/requests.js'
import type { Handler, LoggedIn } from './context.js'
import type { Services } from './services.js'

/**
 * Without the password: nothing of it lets anybody in. A user name that a thief of a login gives up is kept for its owner,
 * who can take it back.
 */
export const handleProfile: Handler<RequestData<'profile'>, LoggedIn> = async (
  { accounts, audit, live, rules },
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
  answer.ok('SUCCESS', id === undefined ? null : encodeUser(user, live.isOnline(userId), rules.publicUrl()))
}

type Owner = Pick<LoggedIn, 'userId' | 'permissions' | 'remoteAddress'> & { readonly front: string }

/**
 * A new profile image. It has no request: its bytes come by HTTP.
 * @param read gives its bytes, which are bounded; called when it is known that they may come
 * @returns its address
 * @throws GatewayError RATE_LIMITED; as ProfileImages.put
 */
export async function putImage(
  { audit, limits, profileImages, rules }: Services,
  { userId, permissions, front, remoteAddress }: Owner,
  read: () => Promise<Uint8Array>,
): Promise<string> {
  limits.image(userId)
  const path = await profileImages.put(userId, await read(), () => admit(permissions))
  audit.record({ event: 'profile.changed', userId, front, remoteAddress, fields: 'profileImage' })
  return imageUrl(path, rules.publicUrl())
}

/** @throws GatewayError ERROR_UNAUTHORIZED */
export async function removeImage(
  { audit, profileImages }: Services,
  { userId, permissions, front, remoteAddress }: Owner,
): Promise<void> {
  await profileImages.remove(userId, () => admit(permissions))
  audit.record({ event: 'profile.changed', userId, front, remoteAddress, fields: 'profileImage' })
}
