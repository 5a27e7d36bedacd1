/** Logins: tokens, sessions, credentials of devices, the password. */
import { GIVEN, TAKEN } from '../../protocol/rest.js'
import { type Call, type Operation, WITH_DATA } from '../operation.js'
import { HttpRefusal, Refused } from '../problem.js'

const login: Operation = {
  method: 'POST',
  path: '/login',
  id: 'login',
  summary: 'Log in by a password or a passkey, for a pair of tokens',
  request: 'login',
  login: 'none',
  body: TAKEN.login,
  status: 200,
  answer: GIVEN.LoggedIn,
  refusals: ['ERROR_AUTH', 'SECOND_FACTOR_REQUIRED', 'ACCOUNT_DISABLED', 'EMAIL_UNVERIFIED', 'FORBIDDEN'],
  isSecret: true,
  run: async ({ ask, body }) => ({
    body: (await ask('login', { ...body, token: true }, WITH_DATA)).data as object,
  }),
}

const askPasskey: Operation = {
  method: 'GET',
  path: '/login/passkey-options',
  id: 'askPasskey',
  summary: 'Before a login by a passkey: what to ask the browser',
  request: 'askPasskey',
  login: 'none',
  status: 200,
  answer: GIVEN.PasskeyOptions,
  refusals: ['FORBIDDEN'],
  isSecret: true,
  run: async ({ ask }) => ({ body: (await ask('askPasskey', {})).data as object }),
}

const refresh: Operation = {
  method: 'POST',
  path: '/refresh',
  id: 'refresh',
  summary: 'Exchange a refresh token for a new pair of tokens',
  request: 'refresh',
  login: 'none',
  body: TAKEN.refresh,
  status: 200,
  answer: GIVEN.Tokens,
  refusals: ['ERROR_AUTH'],
  isSecret: true,
  run: async ({ ask, body }) => ({ body: (await ask('refresh', body)).data as object }),
}

const logout: Operation = {
  method: 'POST',
  path: '/logout',
  id: 'logout',
  summary: 'End the session of the token',
  request: 'logout',
  login: 'needed',
  status: 204,
  run: async ({ ask }) => {
    await ask('logout', {})
    return {}
  },
}

interface Session {
  readonly id: string
  readonly kind: string
}

const sessionsOf = async ({ ask }: Call): Promise<readonly Session[]> =>
  ((await ask('sessions', {})).data as { sessions: Session[] }).sessions

const NO_SESSION = new HttpRefusal(404, 'id', 'no such session')

/** @throws Refused 404 if there is none */
async function revoke({ ask }: Call, session: string): Promise<void> {
  await ask('revoke', { session }).catch(thrown => {
    const isUnknown = thrown instanceof Refused && thrown.error.info?.field === 'session'
    throw isUnknown ? new Refused(NO_SESSION) : thrown
  })
}

const listSessions: Operation = {
  method: 'GET',
  path: '/sessions',
  id: 'listSessions',
  summary: 'All logins of the account: tokens, credentials of devices, connections',
  request: 'sessions',
  login: 'needed',
  status: 200,
  answer: GIVEN.Sessions,
  run: async call => ({ body: { sessions: await sessionsOf(call) } }),
}

const endOthers: Operation = {
  method: 'DELETE',
  path: '/sessions',
  id: 'endOtherSessions',
  summary: 'End all logins but the one that asks',
  request: 'revoke',
  login: 'needed',
  query: TAKEN.others,
  status: 200,
  answer: GIVEN.Revoked,
  run: async ({ ask, query }) => ({ body: (await ask('revoke', query)).data as object }),
}

const endSession: Operation = {
  method: 'DELETE',
  path: '/sessions/{id}',
  id: 'endSession',
  summary: 'End one login',
  request: 'revoke',
  login: 'needed',
  params: TAKEN.session,
  status: 204,
  refusals: ['ERROR_FIND_USER'],
  run: async call => {
    await revoke(call, String(call.params.id))
    return {}
  },
}

const mint: Operation = {
  method: 'POST',
  path: '/devices',
  id: 'mintDevice',
  summary: 'Make a credential for one MQTT client id, instead of the one before',
  request: 'mint',
  login: 'needed',
  body: TAKEN.mint,
  status: 201,
  answer: GIVEN.Credential,
  refusals: ['SECOND_FACTOR_REQUIRED'],
  isSecret: true,
  run: async ({ ask, body }) => ({ body: (await ask('mint', body)).data as object }),
}

const listDevices: Operation = {
  method: 'GET',
  path: '/devices',
  id: 'listDevices',
  summary: 'Credentials of devices',
  request: 'sessions',
  login: 'needed',
  status: 200,
  answer: GIVEN.Devices,
  run: async call => {
    const all = await sessionsOf(call)
    const devices = all.filter(({ kind }) => kind === 'device')
    return { body: { devices: devices.map(({ kind: _device, ...one }) => without(one, 'current')) } }
  },
}

const without = (object: object, name: string): object =>
  Object.fromEntries(Object.entries(object).filter(([key]) => key !== name))

const revokeDevice: Operation = {
  method: 'DELETE',
  path: '/devices/{id}',
  id: 'revokeDevice',
  summary: 'Void the credential of a device, and end its connection',
  request: 'revoke',
  login: 'needed',
  params: TAKEN.session,
  status: 204,
  refusals: ['ERROR_FIND_USER'],
  run: async call => {
    const id = String(call.params.id)
    const all = await sessionsOf(call)
    if (!all.some(one => one.id === id && one.kind === 'device')) throw NO_SESSION
    await revoke(call, id)
    return {}
  },
}

const password: Operation = {
  method: 'PUT',
  path: '/me/password',
  id: 'changePassword',
  summary: 'Set another password. All logins end, also that of the token; the answer has new tokens',
  request: 'password',
  login: 'needed',
  body: TAKEN.password,
  status: 200,
  answer: GIVEN.Tokens,
  refusals: ['SECOND_FACTOR_REQUIRED', 'FORBIDDEN'],
  isSecret: true,
  run: async ({ ask, body }) => ({ body: (await ask('password', { ...body, token: true })).data as object }),
}

export const LOGINS = [login, askPasskey, refresh, logout, password]
export const SESSIONS = [listSessions, endOthers, endSession]
export const DEVICES = [mint, listDevices, revokeDevice]
