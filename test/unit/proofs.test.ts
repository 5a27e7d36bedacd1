/** What the link and the code of a letter are good for, and the requests that use them, over a real store. */
import t from 'tap'
import { HeldAddresses } from '../../src/accounts/held-addresses.js'
import { ownerOf, type ProofKind } from '../../src/auth/proofs.js'
import { CODES, type GatewayError } from '../../src/core/errors.js'
import { USER_ACTS } from '../../src/handle/admin/users.js'
import type { Answer, Caller, Handler, LoggedIn } from '../../src/handle/context.js'
import { handlePassword } from '../../src/handle/logins.js'
import {
  handleChangeEmail,
  handleResendVerification,
  handleUndoEmail,
  handleVerifyEmail,
} from '../../src/handle/mail/address.js'
import { findProof, handleRequestPasswordReset, handleResetPassword } from '../../src/handle/mail/recovery.js'
import { ofKind } from '../helpers/kind.js'
import { PASSWORD, startParts } from '../helpers/mqtt-parts.js'

const { parts, register, store } = await startParts(t)
const { services } = parts
const { accounts, held, proofs } = services
const HOUR = 3_600_000
const refused = (field: string) => ofKind('ERROR_AUTH', { info: { field } })

function callerOf(userId?: string): LoggedIn {
  const caller: Caller = {
    userId,
    login: undefined,
    permissions: undefined,
    front: 'json',
    locale: 'en',
    remoteAddress: '192.0.2.1',
    operator: { name: undefined, role: 'admin' },
    hasLeft: false,
    isGone: false,
    leave: () => undefined,
  }
  return caller as LoggedIn
}

/** @returns the number of the answer */
async function ask<D>(run: Handler<D, LoggedIn>, data: D, userId?: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const ok: Answer['ok'] = code => resolve(CODES[code].code)
    const refuse = (error: GatewayError) => reject(error)
    const answer: Answer = { ok, refuse, failed: refuse, stored: () => resolve(201) }
    Promise.resolve(run(services, callerOf(userId), { data, id: undefined }, answer)).catch(reject)
  })
}

/** The letter that a handler had written is written now; outboxes of tests are not started. */
async function letter(userId: string, kind: ProofKind, email: string) {
  const made = await proofs.make(userId, kind, { email, lifetimeMs: HOUR })
  if (made === undefined) throw new Error('not made')
  return made
}

const loggingIn = (email: string, password: string) => accounts.authenticate(email, password)

t.test('a proof is good once, for one kind, until it expires; the store has digests', async t => {
  const { id, email } = await register('pia')
  const work = async ({ userId, spend }: { userId: string; spend: () => Promise<void> }) => {
    await spend()
    return userId
  }
  const { token, code } = await letter(id, 'reset', email)
  t.match(token, new RegExp(`^mpr_${id}_[\\w-]{43}$`))
  t.match(code, /^[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}$/)
  t.equal(ownerOf(token), id)
  t.equal(ownerOf('mpr_1_x'), undefined)
  t.equal(await proofs.isGood(token, ['reset']), true)
  t.equal(await proofs.isGood(token, ['verify']), false)
  await t.rejects(proofs.use({ token }, ['verify'], work), refused('token'))
  await t.rejects(proofs.use({ token: `${token.slice(0, -1)}_` }, ['reset'], work), refused('token'))
  await t.rejects(proofs.use({ userId: id, code: '' }, ['reset'], work), refused('code'))
  await t.rejects(proofs.use({ userId: undefined, code }, ['reset'], work), refused('code'))
  const kept = JSON.stringify(await proofs.list(id))
  t.notMatch(kept, token.slice(-43))
  t.notMatch(kept, code.replace('-', ''))
  await t.rejects(
    proofs.use({ token }, ['reset'], async () => {
      throw new Error('failed before it was spent')
    }),
  )
  const uses = await Promise.allSettled([1, 2, 3].map(() => proofs.use({ token }, ['reset'], work)))
  t.same(uses.map(({ status }) => status).sort(), ['fulfilled', 'rejected', 'rejected'])
  const { now } = Date
  const late = await letter(id, 'verify', email)
  t.intercept(Date, 'now', { value: () => now() + HOUR })
  t.equal(await proofs.isGood(late.token, ['verify']), false)
  await t.rejects(proofs.use(late, ['verify'], work), refused('token'))
  t.same(await proofs.list(id), [])
  await proofs.sweep()
})

t.test(
  'a new password voids a change of address, and a letter to an address before counts no more',
  async t => {
    const { id, email } = await register('ria')
    const reset = await letter(id, 'reset', email)
    const change = await letter(id, 'change', 'thief@example.com')
    t.equal(await ask(handleResetPassword, { token: reset.token, newPassword: 'new' }), 200)
    t.equal((await loggingIn(email, 'new')).id, id)
    t.ok((await accounts.find(id))?.verifiedAt, 'mail to it arrives')
    await t.rejects(ask(handleVerifyEmail, { token: change.token }), refused('token'))
    const old = await letter(id, 'reset', 'before@example.com')
    await t.rejects(ask(handleResetPassword, { token: old.token, newPassword: 'x' }), refused('token'))
    await t.rejects(
      ask(handleResetPassword, { newPassword: 'x' }),
      ofKind('BAD_FIELD', { info: { field: 'code' } }),
    )
    await t.rejects(
      findProof(services, callerOf(), { code: 'x' }),
      ofKind('BAD_FIELD', { info: { field: 'email' } }),
    )
    t.equal(await ask(handleRequestPasswordReset, { email: 'nobody@example.com' }), 200)
    await services.mail.idle()
  },
)

const waiting = async (userId: string) => {
  await services.mail.idle()
  const kinds: string[] = []
  for await (const { value } of store.kv.kvRange('meta', ['mail', userId]))
    kinds.push(JSON.parse(Buffer.from(value).toString()).kind)
  return kinds.filter(kind => kind !== 'password-changed')
}

t.test('whatever voids the letters of an account takes back those that still wait, too', async t => {
  const put = (userId: string) =>
    Promise.all([
      services.mail.put({ kind: 'change', userId, to: 'thief@example.com' }),
      services.mail.put({ kind: 'reset', userId }),
    ])
  const ways: Record<string, (id: string, email: string) => Promise<unknown>> = {
    password: id => ask(handlePassword, { password: PASSWORD, newPassword: 'new' }, id),
    reset: async (id, email) =>
      ask(handleResetPassword, { token: (await letter(id, 'reset', email)).token, newPassword: 'new' }),
    undo: async (id, email) => {
      const since = Date.now()
      await held.hold(email, { userId: id, since, until: since + HOUR })
      return ask(handleUndoEmail, { token: (await letter(id, 'undo', email)).token, newPassword: 'new' })
    },
    operator: id => ask(USER_ACTS['user.reset-password'].run, { user: id }),
    disable: id => ask(USER_ACTS['user.disable'].run, { user: id }),
    delete: id => ask(USER_ACTS['user.delete'].run, { user: id }),
  }
  for (const [way, run] of Object.entries(ways)) {
    const { id, email } = await register(`way-${way}`)
    await put(id)
    t.same((await waiting(id)).sort(), ['change', 'reset'])
    await run(id, email)
    t.same(await waiting(id), [], way)
    if (way === 'delete') t.same(await proofs.list(id), [])
  }
})

t.test('a letter of a disabled account is good for nothing', async t => {
  const { id, email } = await register('wes')
  await accounts.change(id, { disabledAt: Date.now() })
  const change = await letter(id, 'change', 'wes@example.org')
  await t.rejects(ask(handleVerifyEmail, { token: change.token }), refused('token'))
  const reset = await letter(id, 'reset', email)
  await t.rejects(ask(handleResetPassword, { token: reset.token, newPassword: 'x' }), refused('token'))
  t.equal((await accounts.find(id))?.email, email)
})

t.test('an address is confirmed by link or code; asking for a letter tells nothing', async t => {
  const { id, email } = await register('sue')
  t.equal((await accounts.find(id))?.verifiedAt, undefined)
  for (const data of [{ email }, { email: 'nobody@example.com' }])
    t.equal(await ask(handleResendVerification, data), 200)
  t.equal(await ask(handleResendVerification, {}, id), 200)
  await t.rejects(ask(handleResendVerification, {}), ofKind('BAD_FIELD'))
  await services.mail.idle()
  const { code } = await letter(id, 'verify', email)
  await t.rejects(ask(handleVerifyEmail, { email: 'nobody@example.com', code }), refused('code'))
  t.equal(await ask(handleVerifyEmail, { code }, id), 200)
  t.ok((await accounts.find(id))?.verifiedAt)
})

t.test('a thief who changes the address twice does not keep the owner out', async t => {
  const { id, email: first } = await register('tia')
  const [second, third] = ['thief1@example.com', 'thief2@example.com']
  const move = async (to: string) => {
    t.equal(await ask(handleChangeEmail, { password: PASSWORD, email: to }, id), 200)
    const { token } = await letter(id, 'change', to)
    t.equal(await ask(handleVerifyEmail, { token }), 200)
    t.equal((await accounts.find(id))?.email, to)
  }
  await t.rejects(ask(handleChangeEmail, { password: 'wrong', email: second }, id), ofKind('ERROR_AUTH'))
  await t.rejects(ask(handleChangeEmail, { password: PASSWORD, email: 'x' }, id), ofKind('BAD_FIELD'))
  const other = await register('uma')
  await t.rejects(
    ask(handleChangeEmail, { password: PASSWORD, email: other.email.toUpperCase() }, id),
    ofKind('ERROR_EXIST_USER'),
  )
  const stale = await letter(id, 'reset', first)
  await move(second)
  // The letter to the thief's own address is sent first, that to the owner late.
  await move(third)
  const thiefs = await letter(id, 'undo', second)
  const owners = await letter(id, 'undo', first)
  await t.rejects(ask(handleResetPassword, { token: stale.token, newPassword: 'x' }), refused('token'))
  const registration = { email: first.toUpperCase(), password: 'x', firstName: 'a', lastName: 'b' }
  await t.rejects(accounts.register(registration), ofKind('ERROR_EXIST_USER'))
  t.equal(await ask(handleUndoEmail, { token: owners.token, newPassword: 'owner' }), 200)
  t.equal((await accounts.find(id))?.email, first)
  t.equal((await loggingIn(first, 'owner')).id, id)
  await t.rejects(loggingIn(first, PASSWORD), ofKind('ERROR_AUTH'))
  for (const token of [thiefs.token, owners.token])
    await t.rejects(ask(handleUndoEmail, { token, newPassword: 'thief' }), refused('token'))
  // One that was made afterwards, by a letter that had to wait, is good for nothing either.
  const late = await letter(id, 'undo', second)
  await t.rejects(ask(handleUndoEmail, { token: late.token, newPassword: 'thief' }), refused('token'))
  t.equal((await accounts.find(id))?.email, first)
})

t.test('an account changes its address a few times, not often', async t => {
  const { id } = await register('vic')
  for (let i = 0; i < 5; i++)
    await held.hold(`vic${i}@example.com`, { userId: id, since: i, until: Date.now() + HOUR })
  await t.rejects(
    ask(handleChangeEmail, { password: PASSWORD, email: 'vic@example.org' }, id),
    ofKind('TOO_MANY_LETTERS'),
  )
})

t.test(
  'held addresses: for one account, until a time; a change that was taken back frees those after it',
  async t => {
    const one = new HeldAddresses(store.kv)
    const until = Date.now() + HOUR
    await one.hold('a@example.com', { userId: '100000001', since: 1, until })
    await one.hold('b@example.com', { userId: '100000001', since: 2, until })
    await one.hold('c@example.com', { userId: '100000002', since: 3, until })
    await one.hold('d@example.com', { userId: '100000001', since: 1, until: 0 })
    t.same(await one.find('a@example.com'), { userId: '100000001', since: 1, until })
    t.equal(await one.find('d@example.com'), undefined)
    t.equal(await one.find('e@example.com'), undefined)
    t.equal(await one.count('100000001'), 2)
    await one.release('100000001', 2)
    t.equal(await one.find('b@example.com'), undefined)
    t.ok(await one.find('a@example.com'))
    t.ok(await one.find('c@example.com'))
    await one.sweep(until)
    t.equal(await one.find('a@example.com'), undefined)
  },
)
