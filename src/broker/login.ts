/** Who a CONNECT is from. */
import type { AuthenticateError } from 'aedes'
import { type Accounts, normalizeEmail } from '../accounts/accounts.js'
import { toGatewayError } from '../errors.js'
import type { Limits } from '../limits/limits.js'
import type { UserId } from '../model.js'

interface LoginParts {
  readonly accounts: Accounts
  readonly limits: Limits
  /** Whether clients without a name are let in. */
  readonly anonymous: boolean
  readonly remoteAddress: string | undefined
}

/**
 * @param name email or user id
 * @returns undefined for an anonymous client, where they are let in
 * @throws an Error with CONNACK's `returnCode` (MQTT 3.1.1, table 3.1)
 */
export async function login(
  { accounts, limits, anonymous, remoteAddress }: LoginParts,
  name?: string,
  password?: Buffer,
): Promise<UserId | undefined> {
  if (name === undefined && anonymous) return undefined
  if (name === undefined || password === undefined) throw refusal(5)
  try {
    const check = () => accounts.authenticate(name, password.toString())
    return (await limits.attempt(remoteAddress, normalizeEmail(name) || name, check)).id
  } catch (thrown) {
    throw refusal(toGatewayError(thrown).code === 'ERROR_AUTH' ? 4 : 3)
  }
}

/** 3: server unavailable, 4: bad user name or password, 5: not authorized. */
export function refusal(returnCode: 3 | 4 | 5): AuthenticateError {
  return Object.assign(new Error('connection refused'), { returnCode }) as AuthenticateError
}
