/** Accounts that an operator brings along from the old server. */
import { GatewayError } from '../../core/errors.js'
import { type AdminData, checkOldAccount } from '../../protocol/admin.js'
import type { Services } from '../services.js'
import { act, type Done } from './act.js'

/** What became of one account. */
type Outcome =
  | { readonly outcome: 'taken' | 'there' }
  | { readonly outcome: 'refused'; readonly field?: string; readonly reason?: string }

/** One after the other, so that logins have their turns at the threads that hash. */
async function take({ accounts }: Services, data: AdminData<'user.import'>): Promise<Done> {
  const { users, dryRun = false } = data
  const outcomes: Outcome[] = []
  for (const user of users) {
    try {
      const isNew = await accounts.movingIn.take(checkOldAccount(user), dryRun)
      outcomes.push({ outcome: isNew ? 'taken' : 'there' })
    } catch (thrown) {
      if (!(thrown instanceof GatewayError && OF_ACCOUNT.has(thrown.kind))) throw thrown
      outcomes.push({ outcome: 'refused', ...thrown.info })
    }
  }
  const count = dryRun ? 0 : outcomes.filter(({ outcome }) => outcome === 'taken').length
  return { data: { outcomes }, about: { count } }
}

/** Refusals of one account; others are of the whole request. */
const OF_ACCOUNT: ReadonlySet<string> = new Set(['BAD_FIELD', 'TOO_LARGE', 'ERROR_EXIST_USER'])

export const IMPORT_ACTS = { 'user.import': act('user.import', 'accounts.imported', take) } as const
