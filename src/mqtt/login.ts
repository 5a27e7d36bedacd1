/** Who a CONNECT is from. */

import { isPassword, type Principal } from '../auth/authenticate.js'
import type { LoginOutcome } from '../auth/login-log.js'
import { type Locale, toGatewayError } from '../core/errors.js'
import { LENGTHS } from '../core/model.js'
import type { Services } from '../handle/context.js'
import type { AuthenticateError } from './aedes/types.js'

export interface Connect {
  /** Email or user id. */
  readonly name: string | undefined
  /** A password, a token, or the credential of this client id. */
  readonly password: Buffer | undefined
  readonly clientId: string
  readonly remoteAddress: string | undefined
  /** Whether somebody is still there to get CONNACK. */
  readonly isWanted: () => boolean
}

/**
 * @returns undefined for an anonymous client, where they are let in
 * @throws an Error with CONNACK's `returnCode` (MQTT 3.1.1, table 3.1)
 */
export async function login(
  services: Services,
  anonymous: boolean,
  { name, password, clientId, remoteAddress, isWanted }: Connect,
): Promise<Principal | undefined> {
  if (name === undefined && anonymous) return undefined
  if (name === undefined || password === undefined) throw rejectResponse(5)
  const { accounts, authenticator, limits } = services
  // Before anything is done with them: MQTT allows 65,535 bytes each, and UTF-8 has no fewer bytes than characters.
  if (name.length > LENGTHS.email || password.length > LENGTHS.token) throw rejectResponse(4)
  const secret = password.toString()
  if (secret.length > LENGTHS.password && isPassword(secret)) throw rejectResponse(4)
  const check = () => authenticator.byMqtt(name, secret, clientId)
  try {
    // Nobody guesses a token or a credential; a device with an old one must not delay its owner's password.
    if (!isPassword(secret)) return await check()
    return await limits.attempt(remoteAddress, await accounts.keyOf(name), check, isWanted)
  } catch (thrown) {
    throw rejectResponse(toGatewayError(thrown).kind === 'ERROR_AUTH' ? 4 : 3)
  }
}

/** By return code of CONNACK. */
const OUTCOMES: Readonly<Record<number, LoginOutcome>> = { 3: 'unavailable', 4: 'wrong-credentials' }

/** Says in log, metrics and audit what became of a CONNECT. @param returnCode of CONNACK: 0 = let in */
export function recordLogin(
  { audit, loginLog }: Services,
  { clientId, remoteAddress }: Connect,
  { who, returnCode }: { readonly who: Principal | undefined; readonly returnCode: number },
): void {
  const about = { userId: who?.user.id, front: 'mqtt', remoteAddress, kind: who?.login.kind }
  const facts = { front: 'mqtt', userId: who?.user.id, device: clientId, remoteAddress } as const
  if (returnCode === 0) loginLog.accepted(facts)
  else loginLog.refused(facts, OUTCOMES[returnCode] ?? 'not-allowed', returnCode)
  const session = { session: who?.login.id, device: clientId }
  if (returnCode !== 0) audit.record({ event: 'login.failed', ...about, code: returnCode })
  else if (who !== undefined) audit.record({ event: 'login.succeeded', ...about, ...session })
}

/** 3: server unavailable, 4: bad user name or password, 5: not authorized. */
export function rejectResponse(returnCode: 3 | 4 | 5): AuthenticateError {
  return Object.assign(new Error('connection refused'), { returnCode }) as AuthenticateError
}

const LANGUAGE = /\?lang=(en|zh-TW)$/

/** A user name may say in which language its connection is answered: `ann@example.com?lang=en`. No address ends like that. */
export function readUserName(userName: string | undefined): {
  name: string | undefined
  locale: Locale | undefined
} {
  const [suffix = '', locale] = LANGUAGE.exec(userName ?? '') ?? []
  return { name: userName?.slice(0, userName.length - suffix.length), locale: locale as Locale | undefined }
}
