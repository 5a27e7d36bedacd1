/** The rules for new passwords. Existing passwords are not checked again. */
import { GatewayError } from '../core/errors.js'

export interface PasswordRules {
  /** Minimum length in characters (Unicode code points). */
  readonly minLength: number
  /** `refuse`: the 10,000 most common passwords are refused. */
  readonly common: 'allow' | 'refuse'
}

/** The form of an app password (auth/secrets.ts), which no password has. */
export const APP_PASSWORD = /^mumi(-[0-9a-z]{4}){7}$/i

/** How many entries of the library's list, most common first, count as common. */
const COMMON = 10_000

export type PasswordCheck = (field: string, password: string) => void

/** The list is loaded only if `common` is `refuse`. @returns a check that throws GatewayError BAD_FIELD */
export async function passwordCheck({ minLength, common }: PasswordRules): Promise<PasswordCheck> {
  const list = common === 'refuse' ? await loadCommon() : new Set<string>()
  return (field, password) => {
    const bad = (reason: string) => new GatewayError('BAD_FIELD', { field, reason })
    // RFC 8265, 4.2.1: FreeformClass has no control characters (RFC 8264, 4.3.2).
    if (/\p{Cc}/u.test(password)) throw bad('must not contain control characters')
    if ([...password.normalize('NFC')].length < minLength) throw bad(`shorter than ${minLength} characters`)
    if (APP_PASSWORD.test(password)) throw bad('has the form of an app password')
    if (list.has(password.toLowerCase())) throw bad('is one of the most common passwords')
  }
}

async function loadCommon(): Promise<ReadonlySet<string>> {
  const { dictionary } = await import('@zxcvbn-ts/language-common')
  return new Set(dictionary['passwords-common'].slice(0, COMMON))
}
