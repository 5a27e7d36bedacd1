/** A forgotten password: whoever reads the account's mail sets a new one. */
import { normalizeEmail } from '../../accounts/email.js'
import { type Named, ownerOf, type Spendable } from '../../auth/proofs.js'
import { GatewayError, toGatewayError } from '../../core/errors.js'
import type { User, UserId } from '../../core/model.js'
import type { RequestData } from '../../protocol/requests.js'
import type { Caller, Handler } from '../context.js'
import type { Services } from '../services.js'

const ENDED = 'ERROR_CONNECTION_CLOSED'

/** Answered before anybody looks whether there is such an account: neither the answer nor its time tells. */
export const handleRequestPasswordReset: Handler<RequestData<'requestPasswordReset'>> = (
  { audit, limits, mail },
  { front, remoteAddress },
  { data },
  answer,
) => {
  limits.askForMail(remoteAddress)
  audit.record({ event: 'password.reset-asked', front, remoteAddress })
  mail.ask(data.email, 'reset')
  answer.ok('SUCCESS')
}

/** Ends every login of the account and of its devices. That a letter arrived also shows that the address is the owner's. */
export const handleResetPassword: Handler<RequestData<'resetPassword'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { accounts, audit, proofs } = services
  const { front, remoteAddress } = caller
  const { named, account } = await findProof(services, caller, data)
  const work = async (proof: Spendable) => {
    const { userId } = proof
    await checkAddress(services, proof)
    const endSessions = endAll(services, caller, proof)
    await accounts.resetPassword(userId, data.newPassword, endSessions, 'newPassword')
    // A change of the address that somebody else has asked for.
    await proofs.cancelNow(userId, ['reset', 'change'])
    await accounts.change(userId, { verifiedAt: Date.now() })
    return userId
  }
  const use = () => proofs.use(named, ['reset'], work)
  const userId = await services.limits.logins
    .attempt(remoteAddress, account, use, () => !caller.isGone)
    .catch(thrown => {
      const about = { front, remoteAddress, code: toGatewayError(thrown).number }
      audit.record({ event: 'password.reset-refused', ...about })
      throw thrown
    })
  audit.record({ event: 'password.reset', userId, front, remoteAddress })
  services.mail.tell({ kind: 'password-changed', userId })
  answer.ok('SUCCESS')
  services.live.endAll(userId, ENDED)
}

/** What a request says of its proof. */
interface NamedProof {
  readonly token?: string
  readonly email?: string
  readonly code?: string
}

/**
 * @returns also the key by which wrong guesses are counted, as those of passwords are
 * @throws GatewayError BAD_FIELD
 */
export async function findProof(
  { accounts }: Services,
  { userId }: Caller,
  { token, email, code }: NamedProof,
): Promise<{ named: Named; account: string }> {
  if (token !== undefined) return { named: { token }, account: ownerOf(token) ?? '' }
  if (code === undefined) throw new GatewayError('BAD_FIELD', { field: 'code', reason: 'is missing' })
  if (email === undefined && userId === undefined)
    throw new GatewayError('BAD_FIELD', { field: 'email', reason: 'is missing' })
  const login = email ?? userId ?? ''
  const [user, account] = await Promise.all([accounts.findByName(login), accounts.keyOf(login)])
  return { named: { userId: user?.id, code }, account }
}

/**
 * A letter counts only as long as the account has the address to which it was sent, and is not disabled.
 * @throws GatewayError ERROR_AUTH
 */
export async function checkAddress({ accounts }: Services, { userId, email }: Spendable): Promise<void> {
  const user = await accounts.find(userId)
  if (user === undefined || user.emailKey !== normalizeEmail(email))
    throw new GatewayError('ERROR_AUTH', { field: 'token', reason: 'is of another address' })
  checkEnabled(user)
}

/** An operator may have disabled the account while its letter was on its way. @throws GatewayError ERROR_AUTH */
export function checkEnabled({ disabledAt }: User): void {
  if (disabledAt !== undefined)
    throw new GatewayError('ERROR_AUTH', { field: 'token', reason: 'is of a disabled account' })
}

/**
 * For Accounts.resetPassword: spends the proof when all is ready, and ends all logins.
 * The connection that asks may be one of them: it is answered before it ends.
 * @param first done before the proof is spent
 */
export function endAll(
  { live, logins }: Services,
  caller: Caller,
  { userId, spend }: Pick<Spendable, 'userId' | 'spend'>,
  first: () => Promise<unknown> = async () => undefined,
): () => Promise<unknown> {
  let isSpent = false
  const endLive = () => live.endAll(userId as UserId, ENDED, one => !Object.is(one, caller))
  return async () => {
    if (!isSpent) {
      await first()
      await spend()
    }
    isSpent = true
    await logins.revoke(userId, () => true, endLive)
  }
}
