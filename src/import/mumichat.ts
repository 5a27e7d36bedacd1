/** The accounts of the old MumiChat server: its table `user`. */
import { addressOf, normalizeEmail } from '../accounts/email.js'
import { GatewayError } from '../core/errors.js'
import { checkOldAccount, type OldAccount } from '../protocol/admin.js'
import { readTable, type Value } from './sqlite.js'

/** Its columns but `is_login`, which is about connections that are long closed. */
const COLUMNS = [
  'user_id',
  'email',
  'password',
  'username',
  'first_name',
  'last_name',
  'profile_image',
  'key',
] as const

/** A row of the table that is not taken, and why. */
export interface Refused {
  /** 1, 2, 3 … in the order of the table. */
  readonly row: number
  readonly id: string
  readonly email: string
  readonly reason: string
}

export interface OldRow {
  readonly row: number
  readonly account: OldAccount
}

/**
 * @param path of the database
 * @returns the accounts, and the rows that cannot be one whatever else there is; of several with one id, email or user name the
 *   first is taken, which is the one that the old server let log in
 * @throws SourceError
 */
export async function readOldAccounts(path: string): Promise<{ rows: OldRow[]; refused: Refused[] }> {
  const rows: OldRow[] = []
  const refused: Refused[] = []
  const [ids, emails, names] = [
    new Map<string, number>(),
    new Map<string, number>(),
    new Map<string, number>(),
  ]
  for (const [at, values] of (await readTable(path, 'user', COLUMNS)).entries()) {
    const row = at + 1
    const refuse = (reason: string) => {
      const [id, email] = values
      refused.push({ row, id: shown(id), email: shown(email), reason })
    }
    const account = accountOf(values)
    if (typeof account === 'string') {
      refuse(account)
      continue
    }
    const emailKey = normalizeEmail(account.email)
    const [sameId, sameEmail] = [ids.get(account.id), emails.get(emailKey)]
    const sameName = names.get(account.username)
    if (sameId !== undefined) refuse(`id: is that of row ${sameId}, too`)
    else if (sameEmail !== undefined) refuse(`email: is that of row ${sameEmail}, too`)
    else if (sameName !== undefined) refuse(`username: is that of row ${sameName}, too`)
    else {
      if (account.username !== '') names.set(account.username, row)
      ids.set(account.id, row)
      emails.set(emailKey, row)
      rows.push({ row, account })
    }
  }
  return { rows, refused }
}

/** @returns the account, or why it is none */
function accountOf(values: readonly Value[]): OldAccount | string {
  const texts = values.map(textOf)
  const wrong = texts.indexOf(undefined)
  if (wrong !== -1) return `${COLUMNS[wrong]}: is not a text, has NUL, or is too long`
  const [id, email, passwordHash, username, firstName, lastName, profileImage, key] = texts
  try {
    const account = checkOldAccount({
      ...{ id, email, passwordHash, username, firstName, lastName, profileImage, key },
    })
    addressOf(account.email)
    return account
  } catch (thrown) {
    if (!(thrown instanceof GatewayError)) throw thrown
    return reasonOf(thrown.info ?? {})
  }
}

export const reasonOf = ({ field, reason }: { readonly field?: string; readonly reason?: string }): string =>
  [field, reason].filter(part => part !== undefined).join(': ')

/** undefined: it is no text. Columns without a type keep numbers. */
function textOf(value: Value | undefined): string | undefined {
  if (value === null || value === undefined) return ''
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : undefined
}

const SHOWN = 64

function shown(value: Value | undefined): string {
  const text = textOf(value) ?? ''
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text
}
