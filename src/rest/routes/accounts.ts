/** Accounts: a new one, the own one, and those of others. */
import { GatewayError } from '../../core/errors.js'
import { formatTime } from '../../core/time.js'
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
    ...{ id, email, username, firstName, lastName, profileImage, key, language },
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
  request: 'language',
  login: 'needed',
  body: TAKEN.me,
  status: 200,
  answer: GIVEN.Me,
  matches: showMe,
  run: async call => {
    await call.ask('language', call.body)
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
  refusals: ['FORBIDDEN'],
  matches: showMe,
  run: async ({ ask, body }) => {
    const data = (await ask('delete', body, WITH_DATA)).data as { deletedAt?: string } | null
    return { body: { deleted_at: data?.deletedAt ?? null } }
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

export const ACCOUNTS = [register, showMe, changeMe, deleteMe, findUsers, showUser]
