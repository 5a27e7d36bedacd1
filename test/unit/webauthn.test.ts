/** Passkeys by themselves, with an authenticator in software, a clock of the test and a store that others change in between. */
import t from 'tap'
import { CHALLENGE_MS, Challenges } from '../../src/auth/second-factor/challenges.js'
import { Passkeys } from '../../src/auth/second-factor/passkeys.js'
import { SecondFactors } from '../../src/auth/second-factor/second-factors.js'
import { relyingParty, WebAuthn } from '../../src/auth/second-factor/webauthn.js'
import { authenticator } from '../helpers/factor.js'
import { ofKind } from '../helpers/kind.js'
import { type Behaviour, SoftPasskey } from '../helpers/passkey.js'

const ANN = '100000001'
const BOB = '100000002'
const PARTY = { id: 'chat.example', origin: 'https://chat.example' }
const HONEST = { rpId: PARTY.id, origin: PARTY.origin }
const refused = ofKind('ERROR_AUTH', { info: { field: 'passkey' } })
const NOTHING = () => undefined

/** As both stores do: only what is still `before` is replaced. */
class Rows {
  readonly rows = new Map<string, string | undefined>()
  /** What another gateway does between a read and a write. */
  meanwhile: (() => void)[] = []

  findFactor = async (id: string) => this.rows.get(id)

  replaceFactor = async (id: string, before: string | undefined, after: string | undefined) => {
    this.meanwhile.shift()?.()
    if (this.rows.get(id) !== before) return false
    this.rows.set(id, after)
    return true
  }
}

function setUp(behaviour: Behaviour = HONEST) {
  const rows = new Rows()
  const factors = new SecondFactors(rows)
  const passkeys = new Passkeys(rows, new WebAuthn(() => PARTY))
  const soft = new SoftPasskey(behaviour)
  const begin = (userId = ANN) => passkeys.begin(userId, 'ann@example.com', NOTHING)
  const add = async (one = soft) => passkeys.add(ANN, one.register(await begin()), 'phone')
  const answer = async (one = soft) => one.answer(await passkeys.ask())
  return { rows, factors, passkeys, soft, begin, add, answer }
}

t.test('the relying party is the config’s: a name, over TLS or this machine', async t => {
  t.same(relyingParty('https://chat.example/x'), PARTY)
  const here = { id: 'localhost', origin: 'http://localhost:8080' }
  for (const host of ['localhost', '127.0.0.1', '[::1]']) t.same(relyingParty(`http://${host}:8080`), here)
  t.same(relyingParty('https://127.0.0.1'), { id: 'localhost', origin: 'https://localhost' })
  for (const url of [undefined, 'http://chat.example', 'https://192.0.2.1', 'https://[2001:db8::1]:1'])
    t.equal(relyingParty(url), undefined, String(url))
  const nowhere = new Passkeys(new Rows(), new WebAuthn(() => relyingParty(undefined)))
  const forbidden = ofKind('FORBIDDEN')
  await t.rejects(nowhere.ask(), forbidden)
  await t.rejects(nowhere.begin(ANN, 'ann@example.com', NOTHING), forbidden)
})

t.test('challenges of logins: each is good once, for five minutes, of this process', async t => {
  const challenges = new Challenges()
  const one = challenges.make(0)
  t.ok(challenges.isGood(one, CHALLENGE_MS - 1))
  t.notOk(challenges.isGood(one, CHALLENGE_MS))
  t.notOk(new Challenges().isGood(one, 0))
  const text = Buffer.from(one, 'base64url').toString()
  const forged = ['', 'x', '9999999999999.x.y', `9${text}`, `${text}.x`, text.replace(/.$/, 'é')]
  for (const bad of [...forged.map(bad => Buffer.from(bad).toString('base64url')), `${one}=`, `${one} `])
    t.notOk(challenges.isGood(bad, 0), bad)
  t.ok(challenges.use(one))
  t.notOk(challenges.use(one))
})

t.test(
  'a passkey is added once a challenge, the newest, for the account that asked, within five minutes',
  async t => {
    const { passkeys, soft, begin, rows } = setUp()
    const before = await begin()
    const options = await begin()
    t.match(options.authenticatorSelection, { residentKey: 'required', userVerification: 'required' })
    t.match(options, { rp: { id: PARTY.id }, attestation: 'none' })
    const response = soft.register(options)
    await begin(BOB)
    await t.rejects(passkeys.add(BOB, response, 'x'), refused, 'another account')
    await t.rejects(passkeys.add(ANN, soft.register(before), 'x'), refused, 'an older challenge')
    await t.rejects(passkeys.add(ANN, response, 'x', Date.now() + CHALLENGE_MS), refused, 'late')
    // Another gateway writes meanwhile.
    rows.meanwhile.push(() => rows.rows.set(ANN, `${rows.rows.get(ANN)} `))
    t.match(await passkeys.add(ANN, response, 'phone'), { name: 'phone', counter: 0 })
    t.match(await passkeys.list(ANN), [{ id: soft.id.toString('base64url'), name: 'phone' }])
    await t.rejects(passkeys.add(ANN, response, 'x'), refused, 'once')
    t.match((await begin()).excludeCredentials, [{ id: soft.id.toString('base64url') }])
    await t.rejects(passkeys.add(ANN, soft.register(await begin()), 'x'), refused, 'the same again')
  },
)

t.test('an account has ten at most; they are removed one by one', async t => {
  const { passkeys, begin, add, rows } = setUp()
  for (let i = 0; i < 9; i++) await add(new SoftPasskey(HONEST))
  const options = await begin()
  rows.rows.set(BOB, rows.rows.get(ANN))
  await passkeys.add(ANN, new SoftPasskey(HONEST).register(options), 'x')
  const many = ofKind('BAD_FIELD')
  await t.rejects(begin(), many)
  for (const { id } of await passkeys.list(ANN)) t.ok(await passkeys.remove(ANN, id))
  t.equal(rows.rows.get(ANN), undefined, 'nothing is kept')
  t.notOk(await passkeys.remove(ANN, 'x'))
})

t.test('a login names its account, and is good once; the counter rises', async t => {
  const { passkeys, soft, add, answer, rows } = setUp()
  await add()
  const response = await answer()
  // Another gateway writes meanwhile: the answer is still the first one.
  rows.meanwhile.push(() => rows.rows.set(ANN, `${rows.rows.get(ANN)} `))
  t.equal(await passkeys.use(response), ANN)
  t.match(await passkeys.list(ANN), [{ counter: 1 }])
  await t.rejects(passkeys.use(response), refused, 'a replay')
  soft.counter = 0
  await t.rejects(passkeys.use(await answer()), refused, 'a copy of the authenticator')
  await t.rejects(passkeys.use(await answer(), Date.now() + CHALLENGE_MS), refused, 'late')
  soft.userHandle = Buffer.from(BOB).toString('base64url')
  await t.rejects(passkeys.use(await answer()), refused, 'another account')
})

t.test('an answer without a counter is good once, too, however many come at a time', async t => {
  const { passkeys, soft, add, answer } = setUp()
  await add()
  soft.counter = -1
  const response = await answer()
  const all = await Promise.allSettled(Array.from({ length: 5 }, () => passkeys.use(response)))
  t.equal(all.filter(({ status }) => status === 'fulfilled').length, 1)
  soft.counter = -1
  t.equal(await passkeys.use(await answer()), ANN, 'the next one')
})

t.test('another origin, another site, nobody verified, another key: refused', async t => {
  for (const behaviour of [
    { ...HONEST, origin: 'https://chat.example.evil' },
    { ...HONEST, rpId: 'evil' },
    { ...HONEST, isVerified: false },
  ]) {
    await t.rejects(setUp(behaviour).add(), refused)
    const { passkeys, soft, add, answer } = setUp()
    await add()
    soft.behaviour = behaviour
    await t.rejects(passkeys.use(await answer()), refused)
    soft.behaviour = HONEST
    t.equal(await passkeys.use(await answer()), ANN)
    const other = new SoftPasskey(HONEST, soft.id)
    other.userHandle = soft.userHandle
    await t.rejects(passkeys.use(await answer(other)), refused, 'another key')
  }
})

t.test('an attestation with certificates is refused: nobody is asked whether they were revoked', async t => {
  const { passkeys, soft, begin } = setUp()
  const x5c = Buffer.from('a163783563814100', 'hex')
  const begun = await begin()
  for (const format of ['packed', 'apple', 'tpm', 'fido-u2f', 'android-key', 'android-safetynet', 'x'])
    await t.rejects(passkeys.add(ANN, soft.register(begun, format, x5c), 'x'), {
      ...refused,
      cause: { message: 'attestation was not asked for' },
    })
  t.ok(await passkeys.add(ANN, soft.register(begun), 'x'))
})

t.test('whatever is posted is refused, not a fault', async t => {
  const { passkeys, soft, add, begin, answer } = setUp()
  const { id } = await add()
  const begun = await begin()
  const good = soft.register(begun)
  const login = await answer()
  const { userHandle } = soft
  const deep = Buffer.alloc(6000, 0x81).toString('base64url')
  const long = Buffer.from([0x9b, 0, 0, 0, 1, 0, 0, 0, 0]).toString('base64url')
  for (const bad of ['', 'AA', deep, long]) {
    const response = { ...good.response, attestationObject: bad }
    await t.rejects(passkeys.add(ANN, { ...good, response }, 'x'), refused)
    for (const part of ['authenticatorData', 'signature', 'clientDataJSON']) {
      const answered = { ...login, response: { ...login.response, [part]: bad } }
      await t.rejects(passkeys.use(answered), refused)
    }
  }
  for (const response of [{}, { userHandle }, { userHandle, clientDataJSON: 1 }, { userHandle: 'AAAA' }])
    for (const bad of [{ response }, { id, rawId: id, type: 'public-key', response }])
      await t.rejects(passkeys.use(bad as never), refused)
})

t.test(
  'a new password ends them and what was begun; of a code they are kept, of a second factor only behind it',
  async t => {
    const { factors, passkeys, soft, begin, add, rows } = setUp()
    await add()
    const begun = await begin()
    await factors.passwordChanged(ANN)
    t.equal(rows.rows.get(ANN), undefined)
    await t.rejects(passkeys.add(ANN, soft.register(begun), 'x'), refused)

    await add()
    const switchOn = async () => {
      const { secret } = await factors.begin(ANN, 'ann@example.com', NOTHING)
      const code = authenticator(secret)
      return { code, recovery: await factors.confirm(ANN, secret, code()) }
    }
    const { code, recovery } = await switchOn()
    t.same(await passkeys.list(ANN), [], 'they were made without a code')
    await add()
    await begin()
    t.match(await factors.check(ANN, code()), { by: 'totp' })
    t.match(await factors.check(ANN, recovery[0]), { by: 'recovery' })
    await factors.renewRecoveryCodes(ANN)
    await t.rejects(factors.check(ANN, '000000'), ofKind('ERROR_AUTH'))
    await switchOn()
    t.equal((await passkeys.list(ANN)).length, 1)
    t.match(await factors.state(ANN), { recoveryCodes: 10, passkeys: [{ name: 'phone' }] })
    t.ok(await factors.remove(ANN))
    t.equal((await passkeys.list(ANN)).length, 1)
    t.notOk(await factors.remove(ANN))
    t.ok(await factors.removeAll(ANN))
    t.notOk(await factors.removeAll(ANN))
    t.equal(rows.rows.get(ANN), undefined)
  },
)
