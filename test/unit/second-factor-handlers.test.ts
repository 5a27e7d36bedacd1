/** Requests about the second factor and app passwords, each by itself, over real services and a real store. */
import t from 'tap'
import { CODES, type GatewayError } from '../../src/core/errors.js'
import type { Login } from '../../src/core/model.js'
import type { Answer, Handler, LoggedIn } from '../../src/handle/context.js'
import { handleMint, handleMintAppPassword } from '../../src/handle/logins.js'
import { confirmOwner, loginOf } from '../../src/handle/owner.js'
import {
  handleBeginSecondFactor,
  handleConfirmSecondFactor,
  handleRemoveSecondFactor,
  handleRenewRecoveryCodes,
  handleSecondFactor,
} from '../../src/handle/second-factor.js'
import { authenticator } from '../helpers/factor.js'
import { ofKind } from '../helpers/kind.js'
import { PASSWORD, startParts } from '../helpers/mqtt-parts.js'

const { parts, register } = await startParts(t)
const { services } = parts

const LOGIN: Login = { id: 's', kind: 'password', role: 'user', device: undefined, since: 0 }

const callerOf = (userId: string | undefined, isGone = false) =>
  ({
    userId,
    login: userId === undefined ? undefined : LOGIN,
    permissions: undefined,
    front: 'json',
    locale: 'en',
    remoteAddress: '192.0.2.1',
    hasLeft: isGone,
    isGone,
    leave: () => undefined,
  }) as LoggedIn

async function ask<D>(run: Handler<D, LoggedIn>, caller: LoggedIn, data: D) {
  let found = undefined as { code: number; data: unknown } | undefined
  const refuse = (error: GatewayError) => {
    throw error
  }
  const answer: Answer = {
    ok: (code, data) => {
      found = { code: CODES[code].code, data }
    },
    refuse,
    failed: refuse,
    stored: () => undefined,
  }
  await run(services, caller, { data, id: undefined }, answer)
  if (found === undefined) throw new Error('not answered')
  return found
}

async function enrol(caller: LoggedIn, email?: string) {
  const who = email === undefined ? {} : { email }
  const begun = await ask(handleBeginSecondFactor, caller, { ...who, password: PASSWORD })
  const { secret } = begun.data as { secret: string }
  const code = authenticator(secret)
  const done = await ask(handleConfirmSecondFactor, caller, { ...who, secret, code: code() })
  return { code, ...(done.data as { recoveryCodes: string[] }) }
}

t.test('who asks names the account once: by the login, or by the address', async t => {
  t.equal(loginOf(callerOf('100000001'), undefined), '100000001')
  t.equal(loginOf(callerOf(undefined), 'ann@example.com'), 'ann@example.com')
  t.throws(() => loginOf(callerOf(undefined), undefined), ofKind('BAD_FIELD', { info: { field: 'email' } }))
  t.throws(() => loginOf(callerOf('100000001'), 'x'), ofKind('BAD_FIELD', { info: { field: 'email' } }))
})

t.test('an owner shows password and code; a wrong one counts, and who is gone uses none up', async t => {
  const { id, email } = await register('ann')
  const { code } = await enrol(callerOf(undefined), email)
  const confirm = (secrets: { password: string; code?: string }, isGone = false) =>
    confirmOwner(services, callerOf(id, isGone), secrets)
  await t.rejects(confirm({ password: PASSWORD }), ofKind('SECOND_FACTOR_REQUIRED'))
  await t.rejects(confirm({ password: 'wrong', code: 'x' }), ofKind('ERROR_AUTH'))
  const right = { password: PASSWORD, code: code() }
  await t.rejects(confirm(right, true), ofKind('ERROR_CONNECTION_CLOSED'))
  t.match(await confirm(right), { id, email })
  await t.rejects(confirm(right), ofKind('ERROR_AUTH', { info: { field: 'code' } }))
})

t.test('on, renewed, off: what each answers', async t => {
  const { id } = await register('bob')
  const own = callerOf(id)
  t.same((await ask(handleSecondFactor, own, {})).data, { on: false, recoveryCodes: 0 })
  const { recoveryCodes } = await enrol(own)
  t.match((await ask(handleSecondFactor, own, {})).data, { on: true, since: /Z$/, recoveryCodes: 10 })
  const owner = (code = '') => ({ password: PASSWORD, code })
  const renewed = await ask(handleRenewRecoveryCodes, own, owner(recoveryCodes[0]))
  const [first] = (renewed.data as { recoveryCodes: string[] }).recoveryCodes
  t.notOk(recoveryCodes.includes(first ?? ''))
  await t.rejects(ask(handleRemoveSecondFactor, own, owner(recoveryCodes[1])), ofKind('ERROR_AUTH'))
  t.match(await ask(handleRemoveSecondFactor, own, owner(first)), { code: 200 })
  await t.rejects(ask(handleRemoveSecondFactor, own, { password: PASSWORD }), ofKind('BAD_FIELD'))
})

t.test('a credential for a device needs password and code, but for a login that is as fresh', async t => {
  const { id } = await register('gus')
  const own = callerOf(id)
  const mint = (data: object, login: Partial<Login> = {}) =>
    ask(handleMint, { ...own, login: { ...LOGIN, ...login } } as LoggedIn, { device: 'lamp', ...data })
  t.match(await mint({}), { code: 200 }, 'without a second factor nothing is asked for')
  const { recoveryCodes } = await enrol(own)
  const missing = (field: string) => ofKind('SECOND_FACTOR_REQUIRED', { info: { field } })
  await t.rejects(mint({}), missing('password'))
  await t.rejects(mint({ code: recoveryCodes[0] }), missing('password'), 'nobody guesses codes without it')
  await t.rejects(mint({ password: PASSWORD }), missing('code'))
  await t.rejects(mint({ password: 'wrong', code: recoveryCodes[0] }), ofKind('ERROR_AUTH'))
  t.match(await mint({ password: PASSWORD, code: recoveryCodes[0] }), { code: 200 })
  await t.rejects(mint({ password: PASSWORD, code: recoveryCodes[0] }), ofKind('ERROR_AUTH'))
  const minutes = (ago: number) => Date.now() - ago * 60_000
  for (const kind of ['password', 'passkey'] as const) {
    t.match(await mint({}, { kind, since: minutes(9) }), { code: 200 }, kind)
    await t.rejects(mint({}, { kind, since: minutes(11) }), missing('password'), kind)
    await t.rejects(mint({}, { kind, since: minutes(-5) }), missing('password'), 'a clock that was set back')
  }
  await t.rejects(mint({}, { kind: 'external', since: minutes(0) }), missing('password'))
  await t.rejects(mint({}, { kind: 'token', since: minutes(0) }), missing('password'), 'its row is gone')
  await services.logins.open(id, 'of a token', undefined)
  const token = { kind: 'token', id: 'of a token', since: minutes(60) } as const
  t.match(await mint({}, token), { code: 200 }, 'from the login that it came of')
})

t.test('a disabled account switches nothing on, whatever was begun', async t => {
  const { id, email } = await register('eve')
  const begun = await ask(handleBeginSecondFactor, callerOf(undefined), { email, password: PASSWORD })
  const { secret } = begun.data as { secret: string }
  await services.accounts.change(id, { disabledAt: 1 })
  const confirm = { email, secret, code: authenticator(secret)() }
  await t.rejects(
    ask(handleConfirmSecondFactor, callerOf(undefined), confirm),
    ofKind('ERROR_AUTH', { info: { field: 'secret' } }),
  )
  await t.rejects(
    ask(handleBeginSecondFactor, callerOf(undefined), { email, password: PASSWORD }),
    ofKind('ACCOUNT_DISABLED'),
  )
})

t.test('what was confirmed before a revocation makes nothing after it', async t => {
  const { id, email } = await register('kim')
  const data = { email, password: PASSWORD }
  // The revocation comes while the password is checked.
  const { authenticator: real } = services
  const confirm = real.confirm.bind(real)
  real.confirm = async (...args) => {
    const found = await confirm(...args)
    services.logins.revocations.add(id)
    return found
  }
  t.teardown(() => {
    real.confirm = confirm
  })
  const refused = ofKind('ERROR_AUTH_FAILED')
  await t.rejects(ask(handleMintAppPassword, callerOf(undefined), { ...data, name: 'x' }), refused)
  await t.rejects(ask(handleBeginSecondFactor, callerOf(undefined), data), refused)
  t.same(await services.logins.list(id), [])
})
