/** Accounts: a new one, the own one, and those of others. */
import { GatewayError } from '../../core/errors.js'
import { formatTime } from '../../core/time.js'
import { putImage, removeImage } from '../../handle/profile.js'
import { imageUrl } from '../../protocol/replies.js'
import type { RequestData } from '../../protocol/requests.js'
import { GIVEN, type Me, TAKEN } from '../../protocol/rest.js'
import { type Call, type Operation, WITH_DATA } from '../operation.js'

const register: Operation = {
  method: 'POST',
  path: '/register',
  id: 'register',
  summary: 'Make an account',
  request: 'register',
  login: 'none',
  body: TAKEN.register,
  status: 201,
  answer: GIVEN.Registered,
  refusals: ['ERROR_EXIST_USER', 'REGISTRATION_CLOSED', 'BAD_INVITE'],
  run: async ({ ask, body }) => ({ body: (await ask('register', body, WITH_DATA)).data as object }),
}

const showMe: Operation = {
  method: 'GET',
  path: '/me',
  id: 'showMe',
  summary: 'The own account',
  request: 'query',
  login: 'needed',
  status: 200,
  answer: GIVEN.Me,
  run: async call => ({ body: await describe(call) }),
}

/** As the store has it now; the `user` of the call is from before a change. */
async function describe({ caller, services }: Call): Promise<Me> {
  const user = caller.userId === undefined ? undefined : await services.accounts.find(caller.userId)
  if (user === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
  const { id, email, username, firstName, lastName, profileImage, key, createdAt } = user
  const { language = null, verifiedAt } = user
  return {
    ...{ id, email, username, firstName, lastName, key, language },
    profileImage: imageUrl(profileImage, services.rules.publicUrl()),
    role: caller.login?.role === 'admin' ? 'admin' : 'user',
    created_at: formatTime(createdAt),
    verified_at: verifiedAt === undefined ? null : formatTime(verifiedAt),
  }
}

const changeMe: Operation = {
  method: 'PATCH',
  path: '/me',
  id: 'changeMe',
  summary: 'Change the own account',
  request: 'profile',
  login: 'needed',
  body: TAKEN.me,
  status: 200,
  answer: GIVEN.Me,
  refusals: ['ERROR_EXIST_USER', 'TOO_MANY_CHANGES'],
  matches: showMe,
  run: async call => {
    await call.ask('profile', call.body)
    return { body: await describe(call) }
  },
}

const deleteMe: Operation = {
  method: 'DELETE',
  path: '/me',
  id: 'deleteMe',
  summary: 'Delete the own account, at once or, where the server has a grace time, later',
  request: 'delete',
  login: 'needed',
  body: TAKEN.delete,
  status: 200,
  answer: GIVEN.Deletion,
  refusals: ['SECOND_FACTOR_REQUIRED', 'FORBIDDEN'],
  matches: showMe,
  run: async ({ ask, body }) => {
    const data = (await ask('delete', body, WITH_DATA)).data as { deleted_at?: string } | null
    return { body: { deleted_at: data?.deleted_at ?? null } }
  },
}

type Found = Readonly<Record<string, unknown>> & { readonly id: string }

/** Of a reply to `query`. */
async function query(call: Call, data: RequestData<'query'>): Promise<readonly Found[]> {
  const found = (await call.ask('query', data)).data as readonly Found[]
  return found.map(({ password: _empty, isLogin, ...user }) => ({ ...user, online: isLogin }) as Found)
}

const findUsers: Operation = {
  method: 'GET',
  path: '/users',
  id: 'findUsers',
  summary:
    'Find accounts; without conditions, list them. What is shown follows the privacy rules of the server',
  request: 'query',
  login: 'optional',
  query: TAKEN.query,
  status: 200,
  answer: GIVEN.Users,
  isPaged: true,
  run: async call => {
    const users = await query(call, call.query)
    const last = users.length < call.services.rules.queryLimit ? undefined : users.at(-1)?.id
    return { body: { users }, ...(last !== undefined && { next: { after: last } }) }
  },
}

const showUser: Operation = {
  method: 'GET',
  path: '/users/{id}',
  id: 'showUser',
  summary: 'One account',
  request: 'query',
  login: 'optional',
  params: TAKEN.user,
  status: 200,
  answer: GIVEN.User,
  refusals: ['ERROR_FIND_USER'],
  run: async call => {
    const [body] = await query(call, { id: String(call.params.id) })
    if (body === undefined) throw new GatewayError('ERROR_FIND_USER')
    return { body }
  },
}

/** What the decoder takes (images/decoder.js), which looks at the bytes and not at what a client calls them. */
const IMAGE_TYPES = ['image/jpeg', 'image/png', 'image/webp', 'image/gif']

const putMyImage: Operation = {
  method: 'PUT',
  path: '/me/image',
  id: 'putMyImage',
  summary:
    'Set the profile image: a JPEG, PNG, WebP or GIF file, of which the server makes pictures of 256 and 64 pixels',
  request: 'profile',
  login: 'needed',
  upload: { types: IMAGE_TYPES, maxBytes: ({ rules }) => rules.maxImageBytes },
  status: 200,
  answer: GIVEN.Image,
  refusals: ['IMAGES_BUSY', 'IMAGES_UNAVAILABLE'],
  run: async ({ caller, services, upload }) => {
    // Of a body without bytes nothing would come.
    const read = async () => (upload?.bytes ? upload.read() : Buffer.alloc(0))
    return { body: { profileImage: await putImage(services, ownerOf(caller), read) } }
  },
}

const removeMyImage: Operation = {
  method: 'DELETE',
  path: '/me/image',
  id: 'removeMyImage',
  summary: 'Remove the profile image',
  request: 'profile',
  login: 'needed',
  status: 204,
  run: async ({ caller, services }) => {
    await removeImage(services, ownerOf(caller))
    return {}
  },
}

/** No device gets a token, so whoever has logged in here may change the account. @throws GatewayError */
function ownerOf({ userId, login, permissions, front, remoteAddress }: Call['caller']) {
  if (userId === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
  if (login?.role === 'device') throw new GatewayError('FORBIDDEN')
  return { userId, permissions, front, remoteAddress }
}

export const ACCOUNTS = [register, showMe, changeMe, deleteMe, putMyImage, removeMyImage, findUsers, showUser]
