/** The second factor's rules, with a clock of the test and a store that others change in between. */
import { generateSync } from 'otplib'
import t from 'tap'
import { readFactor, writeFactor } from '../../src/auth/second-factor/record.js'
import { SecondFactors } from '../../src/auth/second-factor/second-factors.js'
import { totpStep } from '../../src/auth/second-factor/totp.js'

const ANN = '100000001'
const START = 1_700_000_000_000
const STEP = 30_000
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const OTHER = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'

/** As both stores do: only what is still `before` is replaced. */
class OneRow {
  row: string | undefined
  /** What another gateway does between a read and a write. */
  meanwhile: (() => void)[] = []

  set(row: string | undefined): void {
    this.row = row
  }

  findFactor = async (): Promise<string | undefined> => this.row

  replaceFactor = async (_id: string, before: string | undefined, after: string | undefined) => {
    this.meanwhile.shift()?.()
    if (this.row !== before) return false
    this.row = after
    return true
  }
}

async function setUp() {
  const row = new OneRow()
  const factors = new SecondFactors(row)
  const { secret, uri } = await factors.begin(ANN, 'ann@example.com', () => undefined)
  const codeAt = (at: number, of = secret) => generateSync({ secret: of, epoch: Math.floor(at / 1000) })
  const confirm = () => factors.confirm(ANN, secret, codeAt(START), START)
  return { row, factors, secret, uri, codeAt, confirm }
}

const refused = (kind: string, info: object = {}) => ({ name: 'GatewayError', kind, info })
const wrong = refused('ERROR_AUTH', { field: 'code' })
const badSecret = refused('ERROR_AUTH', { field: 'secret' })
const late = refused('TOO_MANY_ATTEMPTS', { field: 'code' })

t.test('codes are those of RFC 6238, appendix B, cut to six digits', async t => {
  // ASCII "12345678901234567890".
  const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'
  const vectors: [seconds: number, code: string][] = [
    [59, '287082'],
    [1_111_111_109, '081804'],
    [1_111_111_111, '050471'],
    [1_234_567_890, '005924'],
    [2_000_000_000, '279037'],
    [20_000_000_000, '353130'],
  ]
  for (const [seconds, code] of vectors)
    t.equal(totpStep(secret, code, 0, seconds * 1000), Math.floor(seconds / 30), code)
})

t.test('an app and a person can read what is shown', async t => {
  const { secret, uri } = await setUp()
  t.match(secret, /^[A-Z2-7]{32}$/, '160 bits')
  const url = new URL(uri)
  t.equal(decodeURIComponent(url.pathname), '/MumiChat:ann@example.com')
  t.match(Object.fromEntries(url.searchParams), { secret, issuer: 'MumiChat' })
})

t.test('a clock may be one step off, and no code is good twice, nor one before it', async t => {
  const { factors, codeAt, confirm } = await setUp()
  await confirm()
  const check = (at: number, now: number) => factors.check(ANN, codeAt(at), now)
  await t.rejects(check(START, START), wrong, 'used to switch it on')
  await t.rejects(check(START - STEP, START), wrong)
  t.match(await check(START + STEP, START), { by: 'totp' }, 'a phone that is fast')
  await t.rejects(check(START + STEP, START + STEP), wrong)
  await t.rejects(check(START + 2 * STEP, START + 4 * STEP), wrong, 'two steps late')
  await t.rejects(check(START + 6 * STEP, START + 4 * STEP), wrong, 'two steps early')
  t.match(await check(START + 4 * STEP, START + 5 * STEP), { by: 'totp' }, 'a phone that is slow')
  await t.rejects(check(START + 5 * STEP, START), wrong, 'a server’s clock that was set back')
})

t.test('nothing is on before the first code, and a secret waits a quarter of an hour for it', async t => {
  const { factors, secret, codeAt } = await setUp()
  t.same(await factors.state(ANN), { since: undefined, recoveryCodes: 0, passkeys: [] })
  t.match(await factors.check(ANN, undefined), { by: 'off' })
  const now = Date.now()
  const confirm = (code: string, at: number, of = secret) => factors.confirm(ANN, of, code, at)
  await t.rejects(confirm(codeAt(now, OTHER), now), wrong)
  await t.rejects(confirm('AAAA-AAAA-AAAA-AAAA', now), wrong)
  await t.rejects(confirm(codeAt(now, OTHER), now, OTHER), badSecret)
  await t.rejects(confirm(codeAt(now + 16 * MINUTE), now + 16 * MINUTE), badSecret)
  t.equal((await confirm(codeAt(now), now)).length, 10)
  await t.rejects(confirm(codeAt(now + STEP), now), badSecret, 'once')
  await t.rejects(factors.check(ANN, undefined), { name: 'GatewayError', kind: 'SECOND_FACTOR_REQUIRED' })
  await t.rejects(factors.check(ANN, ''), { name: 'GatewayError', kind: 'SECOND_FACTOR_REQUIRED' })
})

t.test('the store has no recovery code, and each is good once', async t => {
  const { row, factors, confirm } = await setUp()
  const codes = await confirm()
  for (const code of codes) t.notOk(row.row?.includes(code) || row.row?.includes(code.replaceAll('-', '')))
  for (const [used, code] of codes.entries()) {
    t.match(await factors.check(ANN, code), { by: 'recovery' })
    t.equal((await factors.state(ANN)).recoveryCodes, 9 - used)
    await t.rejects(factors.check(ANN, code), wrong)
  }
})

t.test('wrong codes: ten are free, then each waits longer, up to a day; a right one begins anew', async t => {
  const { factors, codeAt, confirm } = await setUp()
  const [recovery = ''] = await confirm()
  let now = START + 10 * STEP
  const bad = () => factors.check(ANN, codeAt(now, OTHER), now)
  for (let i = 0; i < 10; i++) await t.rejects(bad(), wrong)
  await t.rejects(bad(), late)
  await t.rejects(factors.check(ANN, codeAt(now), now), {
    ...late,
    info: { reason: 'wait 30 s, or use a recovery code' },
  })
  const waits: number[] = []
  for (let i = 0; i < 15; i++) {
    let waited = 0
    while (
      await bad().then(
        () => false,
        ({ kind }) => kind === 'TOO_MANY_ATTEMPTS',
      )
    ) {
      now += STEP / 2
      waited += STEP / 2
    }
    waits.push(waited)
  }
  t.same(waits.slice(0, 4), [30_000, 60_000, 120_000, 240_000])
  t.equal(waits.at(-1), DAY)
  t.match(await factors.check(ANN, recovery, now), { by: 'recovery' }, 'the owner gets in')
  t.match(await factors.check(ANN, codeAt(now), now), { by: 'totp' })
  for (let i = 0; i < 10; i++) await t.rejects(bad(), wrong)
  await t.rejects(bad(), late)
  await t.rejects(bad(), late)
  await factors.passwordChanged(ANN)
  await t.rejects(bad(), late, 'whoever guesses may be who set the password')
})

t.test('a code that let nobody in is good again', async t => {
  const { factors, codeAt, confirm } = await setUp()
  const [recovery = ''] = await confirm()
  const at = START + 5 * STEP
  for (const code of [recovery, codeAt(at)]) {
    const { giveBack } = await factors.check(ANN, code, at)
    await t.rejects(factors.check(ANN, code, at), wrong)
    await giveBack()
  }
  await t.rejects(factors.check(ANN, codeAt(at), at), wrong, 'somebody has tried it meanwhile: it stays used')
  for (const code of [recovery, codeAt(at + STEP)]) {
    await (await factors.check(ANN, code, at)).giveBack()
    t.not((await factors.check(ANN, code, at)).by, 'off')
  }
  const [another = ''] = await factors.renewRecoveryCodes(ANN)
  const { giveBack } = await factors.check(ANN, another, at)
  await factors.renewRecoveryCodes(ANN)
  await giveBack()
  await t.rejects(factors.check(ANN, another, at), wrong, 'others have taken its place')
})

t.test('a clock that was set back by days lets the owner in', async t => {
  const { factors, codeAt, confirm } = await setUp()
  await confirm()
  const ahead = START + 100 * DAY
  for (let i = 0; i < 25; i++) await factors.check(ANN, codeAt(ahead, OTHER), ahead).catch(() => undefined)
  t.match(await factors.check(ANN, codeAt(START + 2 * STEP), START + 2 * STEP), { by: 'totp' })
})

t.test('where another gateway changes it in between, all is judged again', async t => {
  const { row, factors, codeAt, confirm } = await setUp()
  await confirm()
  const other = new SecondFactors(row)
  const at = START + 5 * STEP
  const use = () => factors.check(ANN, codeAt(at), at)
  // Of two gateways that read the same row, one uses the code.
  const read = row.row
  await other.check(ANN, codeAt(at), at)
  const used = row.row
  row.row = read
  row.meanwhile = [() => row.set(used)]
  await t.rejects(use(), wrong)
  t.match(row.row, '"wrong":{"count":1', 'and the failure counts')
  row.meanwhile = [() => row.set(undefined)]
  t.match(await factors.check(ANN, codeAt(at + STEP), at), { by: 'off' }, 'it was switched off')
  await t.rejects(factors.renewRecoveryCodes(ANN), { name: 'GatewayError', kind: 'BAD_FIELD' })
})

t.test('a change that never gets its turn is told to try again', async t => {
  const { row, factors } = await setUp()
  let n = 0
  row.meanwhile = Array.from({ length: 100 }, () => () => row.set(`{"n":${n++}}`))
  await t.rejects(
    factors.begin(ANN, 'a', () => undefined),
    { name: 'GatewayError', kind: 'ERROR_AUTH_FAILED' },
  )
})

t.test('begin checks in its turn whether it may still be', async t => {
  const { row, factors } = await setUp()
  const before = row.row
  const check = () => {
    throw new Error('revoked')
  }
  await t.rejects(factors.begin(ANN, 'a', check), /revoked/)
  t.equal(row.row, before)
})

t.test('a code that was right when its like came first is one login', async t => {
  const { factors, codeAt, confirm } = await setUp()
  await confirm()
  const at = START + 5 * STEP
  const all = await Promise.allSettled(Array.from({ length: 20 }, () => factors.check(ANN, codeAt(at), at)))
  t.equal(all.filter(({ status }) => status === 'fulfilled').length, 1)
})

t.test('an account that has nothing has no row', async t => {
  t.same(readFactor(undefined), {})
  t.equal(writeFactor({}), undefined)
  const factor = { totp: { secret: 's', lastStep: 1, since: 2 }, recovery: ['r'] }
  t.same(readFactor(writeFactor(factor)), factor)
  const { row, factors, confirm } = await setUp()
  await factors.passwordChanged(ANN)
  t.equal(row.row, undefined, 'nothing but what waited was there')
  await t.rejects(confirm(), badSecret)
  t.equal(await factors.remove(ANN), false)
})
