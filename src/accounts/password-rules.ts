/** The rules of a new password. Passwords in use are not checked again. */
import { GatewayError } from '../core/errors.js'

export interface PasswordRules {
  /** Characters (code points). */
  readonly minLength: number
  /** `refuse`: none of the most common ones. */
  readonly common: 'allow' | 'refuse'
}

/** Entries of the library's list, commonest first, that count as common. */
const COMMON = 10_000

export type PasswordCheck = (field: string, password: string) => void

/** Loads the list only where it is asked for. */
export async function passwordCheck({ minLength, common }: PasswordRules): Promise<PasswordCheck> {
  const list = common === 'refuse' ? await loadCommon() : new Set<string>()
  return (field, password) => {
    const bad = (reason: string) => new GatewayError('BAD_FIELD', { field, reason })
    // RFC 8265, 4.2.1: FreeformClass has no control characters (RFC 8264, 4.3.2).
    if (/\p{Cc}/u.test(password)) throw bad('must not contain control characters')
    if ([...password.normalize('NFC')].length < minLength) throw bad(`shorter than ${minLength} characters`)
    if (list.has(password.toLowerCase())) throw bad('is one of the most common passwords')
  }
}

async function loadCommon(): Promise<ReadonlySet<string>> {
  const { dictionary } = await import('@zxcvbn-ts/language-common')
  return new Set(dictionary['passwords-common'].slice(0, COMMON))
}
