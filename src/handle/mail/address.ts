/** The account's email address: that it is its owner's, another one, and the way back from that. */
import { addressOf, normalizeEmail } from '../../accounts/email.js'
import { ASKED, type Spendable } from '../../auth/proofs.js'
import type { AuditEvent } from '../../core/audit.js'
import { GatewayError, toGatewayError } from '../../core/errors.js'
import type { User, UserId } from '../../core/model.js'
import type { RequestData } from '../../protocol/requests.js'
import type { Handler, LoggedIn } from '../context.js'
import { confirmAgain } from '../owner.js'
import type { Services } from '../services.js'
import { checkAddress, checkEnabled, endAll, findProof } from './recovery.js'

/** Changes of the address that can still be taken back; each holds an address and has a letter. */
const MAX_CHANGES = 5

const ENDED = 'ERROR_CONNECTION_CLOSED'

/** As `requestPasswordReset`, the answer does not tell whether there is such an account, or what is known of it. */
export const handleResendVerification: Handler<RequestData<'resendVerification'>> = (
  { limits, mail },
  { userId, remoteAddress },
  { data },
  answer,
) => {
  const login = data.email ?? userId
  if (login === undefined) throw new GatewayError('BAD_FIELD', { field: 'email', reason: 'is missing' })
  limits.askForMail(remoteAddress)
  mail.ask(login, 'verify')
  answer.ok('SUCCESS')
}

/** For the account's address, and for the new one that `changeEmail` named. */
export const handleVerifyEmail: Handler<RequestData<'verifyEmail'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { limits, proofs } = services
  const { front, remoteAddress } = caller
  const { named, account } = await findProof(services, caller, data)
  const use = () =>
    proofs.use(named, ['verify', 'change'], async proof => ({
      userId: proof.userId,
      event: await (proof.kind === 'verify' ? verify(services, proof) : change(services, proof)),
    }))
  const done = await limits.logins
    .attempt(remoteAddress, account, use, () => !caller.isGone)
    .catch(thrown => {
      const about = { front, remoteAddress, code: toGatewayError(thrown).number }
      services.audit.record({ event: 'email.verify-refused', ...about })
      throw thrown
    })
  services.audit.record({ ...done, front, remoteAddress })
  answer.ok('SUCCESS')
}

async function verify(services: Services, proof: Spendable): Promise<AuditEvent> {
  await checkAddress(services, proof)
  await proof.spend()
  await services.accounts.change(proof.userId, { verifiedAt: Date.now() })
  return 'email.verified'
}

/** The address before is told, and held for its owner, who can take the change back. */
async function change(services: Services, proof: Spendable): Promise<AuditEvent> {
  const { accounts, held, mail, proofs, rules } = services
  const { userId } = proof
  const user = await accounts.find(userId)
  const address = addressOf(proof.email)
  if (user === undefined) throw new GatewayError('ERROR_FIND_USER')
  checkEnabled(user)
  const isOther = address.emailKey !== user.emailKey
  if (isOther) await accounts.checkFree(address.emailKey, userId)
  const since = Date.now()
  if (isOther) await held.hold(user.emailKey, { userId, since, until: since + rules.undoLifetimeMs })
  await proof.spend()
  await accounts.change(userId, { address, verifiedAt: Date.now() })
  // What was sent to the address before is good no more.
  await proofs.cancelNow(userId, ASKED)
  if (isOther) mail.tell({ kind: 'email-changed', userId, to: user.email })
  return 'email.changed'
}

/** The account keeps its address until mail to the new one has arrived. */
export const handleChangeEmail: Handler<RequestData<'changeEmail'>, LoggedIn> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { audit, authenticator, limits, mail } = services
  const { userId, front, remoteAddress } = caller
  const { email, emailKey } = addressOf(data.email)
  limits.askForMail(remoteAddress)
  const since = authenticator.since()
  const giveBack = await confirmAgain(services, caller, data)
  const user = await mayChange(services, userId, emailKey).catch(async thrown => {
    await giveBack()
    throw thrown
  })
  // Whoever set a new password meanwhile has taken back what waited before.
  since.check(userId)
  audit.record({ event: 'email.change-asked', userId, front, remoteAddress })
  await mail.send(user, { kind: 'change', userId, to: email })
  answer.ok('SUCCESS')
}

/** @throws GatewayError TOO_MANY_LETTERS, ERROR_EXIST_USER, ERROR_FIND_USER */
async function mayChange({ accounts, held }: Services, userId: UserId, emailKey: string): Promise<User> {
  if ((await held.count(userId)) >= MAX_CHANGES)
    throw new GatewayError('TOO_MANY_LETTERS', { field: 'email', reason: 'changed too often' })
  await accounts.checkFree(emailKey, userId)
  const user = await accounts.find(userId)
  if (user === undefined) throw new GatewayError('ERROR_FIND_USER')
  return user
}

/**
 * Whoever changed the address knows the password, so the owner sets a new one in the same step, and all logins end. Changes
 * since then were somebody else's, and cannot be taken back.
 */
export const handleUndoEmail: Handler<RequestData<'undoEmail'>> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { accounts, audit, held, limits, live, proofs } = services
  const { front, remoteAddress } = caller
  const { named, account } = await findProof(services, caller, { token: data.token })
  const work = async (proof: Spendable) => {
    const { userId, email } = proof
    // It was an account's address: it is not judged again.
    const address = { email, emailKey: normalizeEmail(email) }
    const change = await held.find(address.emailKey)
    if (change?.userId !== userId)
      throw new GatewayError('ERROR_AUTH', { field: 'token', reason: 'that change cannot be taken back' })
    const restore = () => accounts.change(userId, { address, verifiedAt: Date.now() })
    const endSessions = endAll(services, caller, proof, restore)
    await accounts.resetPassword(userId, data.newPassword, endSessions, 'newPassword')
    await held.release(userId, change.since)
    await proofs.cancelNow(userId, ASKED)
    return userId
  }
  const use = () => proofs.use(named, ['undo'], work)
  const userId = await limits.logins.attempt(remoteAddress, account, use, () => !caller.isGone)
  audit.record({ event: 'email.restored', userId, front, remoteAddress })
  answer.ok('SUCCESS')
  live.endAll(userId, ENDED)
}
