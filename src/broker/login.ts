/** Who a CONNECT is from. */
import type { AuthenticateError } from 'aedes'
import type { Accounts } from '../accounts/accounts.js'
import { toGatewayError } from '../errors.js'
import type { UserId } from '../model.js'

/**
 * @param name email or user id
 * @returns undefined for an anonymous client, where they are let in
 * @throws an Error with CONNACK's `returnCode` (MQTT 3.1.1, table 3.1)
 */
export async function login(
  accounts: Accounts,
  anonymous: boolean,
  name?: string,
  password?: Buffer,
): Promise<UserId | undefined> {
  if (name === undefined && anonymous) return undefined
  if (name === undefined || password === undefined) throw refusal(5)
  try {
    return (await accounts.authenticate(name, password.toString())).id
  } catch (thrown) {
    throw refusal(toGatewayError(thrown).code === 'ERROR_AUTH' ? 4 : 3)
  }
}

/** 3: server unavailable, 4: bad user name or password, 5: not authorized. */
export function refusal(returnCode: 3 | 4 | 5): AuthenticateError {
  return Object.assign(new Error('connection refused'), { returnCode }) as AuthenticateError
}
