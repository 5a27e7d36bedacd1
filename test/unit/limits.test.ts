import t from 'tap'
import { CODES, type CodeName } from '../../src/core/codes.js'
import { GatewayError } from '../../src/core/errors.js'
import { Metrics } from '../../src/core/metrics.js'
import { AccountLimits } from '../../src/limits/account-limits.js'
import { AddressList, addressGroup, plainAddress } from '../../src/limits/address.js'
import { Admission } from '../../src/limits/admission.js'
import { FailedLogins } from '../../src/limits/failed-logins.js'
import { isWarning, Limits } from '../../src/limits/limits.js'
import { LoginAttempts } from '../../src/limits/login-attempts.js'
import { TokenBucket } from '../../src/limits/token-bucket.js'
import { ofKind } from '../helpers/kind.js'

t.test('a bucket gives its burst at once, then its rate, and never more than its burst', async t => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 3 }, 0)
  const taken = (now: number) => {
    let count = 0
    while (bucket.take(now)) count++
    return count
  }
  t.equal(taken(0), 3)
  t.equal(taken(99), 0)
  t.equal(taken(100), 1)
  t.equal(taken(300), 2)
  t.equal(taken(3_600_000), 3)
})

t.test('a debt is paid off before a token can be taken again', async t => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 3 }, 0)
  t.equal(bucket.borrow(3, 0), 0)
  t.equal(bucket.borrow(5, 0), 500)
  t.notOk(bucket.take(500))
  t.ok(bucket.take(600))
})

t.test('a client is an IPv4 address in any form, or an IPv6 /64', async t => {
  for (const [address, group] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:DB8:0:0:ffff::', '2001:db8:0:0::/64'],
    ['2001:db8:0:1::1', '2001:db8:0:1::/64'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['1::', '1:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['2001:db8::1.2.3.4', '2001:db8:0:0::/64'],
    [undefined, 'unknown'],
    ['__proto__', 'unknown'],
  ] as const) {
    t.equal(addressGroup(address), group, String(address))
  }
})

t.test('a group can also be a wider IPv6 network', async t => {
  t.equal(addressGroup('2001:db8:1:abcd::1', 56), '2001:db8:1:ab00::/56')
  t.equal(addressGroup('2001:db8:1:abcd::1', 48), '2001:db8:1:0::/48')
  t.equal(addressGroup('::ffff:192.0.2.1', 48), '192.0.2.1')
  t.equal(addressGroup(undefined, 48), 'unknown')
})

t.test('the old forms of IPv4 addresses are not accepted', async t => {
  for (const form of ['127.1', '2130706433', '0x7f.0.0.1', '0177.0.0.1', '127.0.0.1.', ' 127.0.0.1'])
    t.equal(plainAddress(form), undefined, form)
})

t.test('a list has addresses and networks, including IPv4 ones in IPv6 form', async t => {
  const list = new AddressList(['127.0.0.0/8', '::1', 'fd00::/8', '192.0.2.7'])
  for (const address of ['127.0.0.1', '127.9.9.9', '::ffff:127.0.0.1', '::1', 'fd12::1', '192.0.2.7'])
    t.ok(list.has(address), address)
  for (const address of ['128.0.0.1', '::2', 'fe80::1', '192.0.2.8', undefined, 'x'])
    t.notOk(list.has(address), String(address))
  t.notOk(new AddressList([]).has('127.0.0.1'))
  const mapped = new AddressList(['::ffff:10.0.0.0/104', '::ffff:192.0.2.7'])
  for (const address of ['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.7']) t.ok(mapped.has(address), address)
  for (const address of ['11.0.0.1', '192.0.2.8', '::1']) t.notOk(mapped.has(address), address)
})

t.test('X-Forwarded-For is believed as far as trusted proxies wrote it, from the right', async t => {
  const proxies = new AddressList(['10.0.0.0/8'])
  for (const [peer, forwardedFor, client] of [
    ['192.0.2.1', '198.51.100.1', '192.0.2.1'],
    ['10.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['10.0.0.1', '127.0.0.1, 198.51.100.1', '198.51.100.1'],
    ['10.0.0.1', '198.51.100.1, 10.0.0.2', '198.51.100.1'],
    ['10.0.0.1', '198.51.100.1:4711', '198.51.100.1'],
    ['10.0.0.1', '[2001:db8::1]:4711', '2001:db8::1'],
    ['10.0.0.1', '2001:db8::1', '2001:db8::1'],
    ['::ffff:10.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['10.0.0.1', '10.0.0.3', '10.0.0.3'],
    [undefined, '198.51.100.1', undefined],
  ] as const) {
    t.equal(proxies.client(peer, forwardedFor), client, `${peer} ${forwardedFor}`)
  }
})

t.test('a client that a proxy does not name is unknown, and never gets the proxy’s address', async t => {
  const proxies = new AddressList(['127.0.0.0/8', '::1'])
  const all = new AddressList(['0.0.0.0/0', '::/0'])
  for (const forwardedFor of [
    undefined,
    '',
    ' ',
    ',',
    '198.51.100.1,',
    '198.51.100.1, unknown',
    'unknown, 127.0.0.1',
    '_hidden',
    '"_hidden"',
    'localhost',
    '127.1',
    '2130706433',
    '127.0.0.1.',
    '127.0.0.1:99:99',
    '[::1',
    '[127.0.0.1]:x',
    // Loopback is relative to the machine that wrote the header.
    '127.0.0.1',
    '::1',
    '[::1]:4711',
    '::ffff:127.0.0.1',
    '127.0.0.2, 127.0.0.1',
    '0.0.0.0',
    '::',
  ]) {
    for (const peer of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
      t.equal(proxies.client(peer, forwardedFor), undefined, `${peer} ${forwardedFor}`)
    }
  }
  t.equal(new AddressList(['10.0.0.1']).client('10.0.0.1', '127.0.0.1'), undefined)
  t.notOk(all.has(undefined), 'unknown is in no list')
})

const OFTEN = { perSecond: 1000, burst: 1000 }

t.test('connections per address, a /64 counting as one; exempt addresses have no limit', async t => {
  const rules = { perAddress: 2, handshakes: OFTEN, handshakesPerAddress: OFTEN, knownShare: 0 }
  const admission = new Admission(rules, new AddressList(['127.0.0.1']))
  t.equal(admission.admit('2001:db8::1'), undefined)
  t.equal(admission.admit('2001:db8::2'), undefined)
  t.equal(admission.admit('2001:db8::3'), 'limits.connectionsPerAddress')
  t.equal(admission.admit('2001:db8:0:1::1'), undefined, 'the network beside it')
  admission.left('2001:db8::1')
  t.equal(admission.admit('2001:db8::3'), undefined, 'one left')
  for (let i = 0; i < 10; i++) t.equal(admission.admit('127.0.0.1'), undefined)
  admission.left('127.0.0.1')
  t.equal(admission.admit('127.0.0.1'), undefined)
})

t.test('new connections per address and in all; one address cannot use up the rate of all', async t => {
  const never = 0.000_001
  const admission = new Admission(
    {
      perAddress: 100,
      handshakes: { perSecond: never, burst: 3 },
      knownShare: 0,
      handshakesPerAddress: { perSecond: never, burst: 2 },
    },
    new AddressList([]),
  )
  const answers = ['a', 'a', 'a', 'a', 'b', 'b'].map(host =>
    admission.admit(host === 'a' ? '192.0.2.1' : '192.0.2.2'),
  )
  t.same(
    answers.map(answer => answer ?? 'in'),
    ['in', 'in', 'limits.handshakesPerAddress', 'limits.handshakesPerAddress', 'in', 'limits.handshakes'],
  )
})

const ONCE = { perSecond: 0.000_001, burst: 1 }
const ACCOUNT = {
  connectionsPerAccount: 1,
  accountRequests: OFTEN,
  accountBytes: ONCE,
  broadcastBytes: ONCE,
}

t.test(
  'bytes of an account are counted over all connections; an excess is admitted once, as a debt',
  async t => {
    const accounts = new AccountLimits(ACCOUNT)
    t.ok(accounts.traffic('a').sent.spend(1_000_000))
    t.notOk(accounts.traffic('a').sent.spend(1))
    t.ok(accounts.traffic('a').broadcast.spend(1), 'broadcasts count by themselves')
    t.ok(accounts.traffic('b').sent.spend(1))
  },
)

t.test('connections per account; one that replaces another is admitted', async t => {
  const accounts = new AccountLimits({ ...ACCOUNT, connectionsPerAccount: 2 })
  accounts.enter('a')
  accounts.enter('a')
  t.throws(() => accounts.enter('a'), new GatewayError('TOO_MANY_CONNECTIONS'))
  accounts.enter('a', true)
  accounts.leave('a')
  t.throws(() => accounts.enter('a'))
  accounts.leave('a')
  accounts.enter('a')
  t.doesNotThrow(() => accounts.enter('a', true))
  t.equal(accounts.rate('a'), accounts.rate('a'), 'one rate for all of them')
  t.not(accounts.rate('b'), accounts.rate('a'))
})

t.test('reconnecting does not refill the request rate', async t => {
  const accounts = new AccountLimits({ ...ACCOUNT, accountRequests: ONCE })
  accounts.enter('a')
  t.ok(accounts.rate('a').take())
  accounts.leave('a')
  accounts.enter('a')
  t.notOk(accounts.rate('a').take())
})

const RULES = { perAccount: 2, perAddress: 100, delayMs: 1000, maxDelayMs: 4000 }

/** A wrong guess at `now`. @returns ms to wait if it was not checked */
function guess(logins: FailedLogins, now: number, group = 'stranger', account = 'ann'): number {
  const answer = logins.begin(group, account, now)
  if (typeof answer !== 'function') return answer.waitMs
  answer('wrong')
  return 0
}

t.test('after the free wrong passwords each further one doubles the delay, up to the longest', async t => {
  const logins = new FailedLogins(RULES)
  // Beyond performance.now(), so that these times count.
  let now = 1e12
  t.equal(guess(logins, now), 0)
  t.equal(guess(logins, now), 0)
  for (const delay of [1000, 2000, 4000, 4000]) {
    t.equal(guess(logins, now), delay)
    t.equal(guess(logins, now + delay - 1), 1)
    now += delay
    t.equal(guess(logins, now), 0)
  }
})

t.test(
  'the owner can log in from another address, and a right password ends the delays of its address',
  async t => {
    const logins = new FailedLogins(RULES)
    const now = 1e12
    for (let i = 0; i < 3; i++) guess(logins, now)
    t.ok(guess(logins, now) > 0)
    const owner = logins.begin('home', 'ann', now)
    t.type(owner, 'function')
    guess(logins, now, 'home')
    if (typeof owner === 'function') owner('right')
    t.equal(guess(logins, now, 'home'), 0, 'counted anew')
    t.ok(guess(logins, now) > 0, 'and the stranger still waits')
  },
)

t.test(
  'an address that tries many accounts is delayed for all of them, even after a login of its own',
  async t => {
    const logins = new FailedLogins({ ...RULES, perAddress: 3 })
    const now = 1e12
    for (const account of ['a', 'b', 'c']) {
      t.equal(guess(logins, now, 'x', account), 0)
      const own = logins.begin('x', 'own', now)
      if (typeof own === 'function') own('right')
    }
    t.match(logins.begin('x', 'd', now), { limit: 'limits.failedLoginsPerAddress', waitMs: 1000 })
    t.type(logins.begin('y', 'd', now), 'function')
  },
)

t.test('failures are forgotten gradually, so occasional mistakes cause no delay', async t => {
  const logins = new FailedLogins(RULES)
  let now = 1e12
  for (let i = 0; i < 20; i++) {
    t.equal(guess(logins, now), 0)
    const settle = logins.begin('stranger', 'ann', now)
    t.type(settle, 'function', 'no delay behind it')
    if (typeof settle === 'function') settle('unknown')
    // Two are free, and two are forgotten in an hour.
    now += 1_800_000
  }
})

t.test('concurrent guesses are not free, concurrent logins of reconnecting devices are', async t => {
  const logins = new FailedLogins(RULES)
  const now = 1e12
  const begin = () => logins.begin('x', 'ann', now)
  const devices = Array.from({ length: 50 }, begin)
  t.ok(devices.every(one => typeof one === 'function'))
  t.match(begin(), { limit: 'limits.failedLogins' })
  for (const settle of devices) if (typeof settle === 'function') settle('right')
  guess(logins, now, 'x')
  t.type(begin(), 'function')
  t.match(begin(), { limit: 'limits.failedLogins' }, 'the one under way may be the second failure')
})

t.test('a failed check counts neither as right nor as wrong', async t => {
  const logins = new FailedLogins(RULES)
  for (let i = 0; i < 10; i++) {
    const settle = logins.begin('x', 'ann', 1e12)
    t.type(settle, 'function')
    if (typeof settle === 'function') settle('unknown')
  }
})

t.test(
  'wrong passwords delay their address; a right one makes it known; an exempt address has no delay',
  async t => {
    const reached: string[] = []
    const logins = new LoginAttempts(
      {
        passwords: { concurrency: 1, queue: 1 },
        failedLogins: { perAccount: 1, perAddress: 9, delayMs: 60_000, maxDelayMs: 60_000 },
      },
      new AddressList(['10.0.0.1']),
      limit => reached.push(limit),
    )
    const wrong = () => Promise.reject(new GatewayError('ERROR_AUTH'))
    const attempt = (address: string, check: () => Promise<unknown>) => logins.attempt(address, 'ann', check)
    await t.rejects(attempt('192.0.2.1', () => Promise.reject(new GatewayError('STORE_UNAVAILABLE'))))
    await t.rejects(attempt('192.0.2.1', wrong), ofKind('ERROR_AUTH'))
    await t.rejects(
      attempt('192.0.2.1', () => t.fail('not checked') as never),
      ofKind('TOO_MANY_ATTEMPTS'),
    )
    t.same(reached, ['limits.failedLogins'])
    t.equal(await attempt('192.0.2.2', async () => 'in'), 'in', 'the owner elsewhere')
    for (let i = 0; i < 3; i++) await t.rejects(attempt('10.0.0.1', wrong), ofKind('ERROR_AUTH'))
    t.equal(logins.isKnown('192.0.2.2'), false, 'a hash is no login')
    logins.loggedInFrom('192.0.2.2')
    t.equal(logins.isKnown('192.0.2.2'), true)
  },
)

t.test('when more passwords wait than the queue takes, one is refused and counted', async t => {
  const reached: string[] = []
  const rules = { perAccount: 9, perAddress: 9, delayMs: 1, maxDelayMs: 1 }
  const logins = new LoginAttempts(
    { passwords: { concurrency: 1, queue: 1 }, failedLogins: rules },
    new AddressList([]),
    limit => reached.push(limit),
  )
  let finish = () => {}
  const long = new Promise<void>(resolve => {
    finish = resolve
  })
  const running = logins.hash('192.0.2.1', 'ann', () => long)
  const waiting = logins.hash('192.0.2.2', 'ann', async () => 'waited')
  await t.rejects(
    logins.hash('192.0.2.2', 'bob', async () => 'refused'),
    ofKind('ERROR_AUTH_FAILED'),
  )
  t.same(reached, ['passwords.queue'])
  finish()
  await running
  t.equal(await waiting, 'waited')
})

const A_DAY = { perSecond: 1 / 86_400, burst: 1 }

/** Limits of which each is reached by the second try, and how often each was. */
function allLimits() {
  const metrics = new Metrics()
  const limits = new Limits(
    {
      crowd: { max: 1, reserved: 0, graceMs: 60_000 },
      passwords: { concurrency: 1, queue: 1 },
      requestsBeforeLogin: A_DAY,
      httpRequests: A_DAY,
      mails: A_DAY,
      mailsPerRecipient: A_DAY,
      images: A_DAY,
      controlFrames: A_DAY,
      admission: { perAddress: 1, handshakes: A_DAY, handshakesPerAddress: A_DAY, knownShare: 0 },
      failedLogins: { perAccount: 1, perAddress: 1, delayMs: 5000, maxDelayMs: 5000 },
      connectionsPerAccount: 1,
      requests: A_DAY,
      accountRequests: A_DAY,
      accountBytes: A_DAY,
      broadcastBytes: A_DAY,
      registrations: A_DAY,
      warnings: A_DAY,
      exempt: ['192.0.2.9'],
    },
    metrics,
  )
  const counted = async () =>
    Object.fromEntries((await metrics.limited.get()).values.map(({ labels, value }) => [labels.limit, value]))
  return { limits, counted }
}

t.test('Limits: each is counted by its key where it is reached', async t => {
  const { limits, counted } = allLimits()
  const address = '192.0.2.1'
  for (let i = 0; i < 2; i++) {
    limits.admit(address)
    limits.askHttp(address)
    if (limits.hasRoom(address)) limits.join(() => t.fail())
    limits.mayMail('ann')
    const work = [
      () => limits.askForMail(address),
      () => limits.register(address),
      () => limits.enter('1'),
      () => limits.broadcast('1', 2),
    ]
    for (const one of work) i === 0 ? t.doesNotThrow(one) : t.throws(one, GatewayError)
  }
  t.same(Object.keys(await counted()).sort(), [
    'limits.broadcastBytes',
    'limits.connections',
    'limits.connectionsPerAccount',
    'limits.connectionsPerAddress',
    'limits.httpRequests',
    'limits.mails',
    'limits.mailsPerRecipient',
    'limits.registrations',
  ])
})

t.test('Limits: an exempt address has no rates; it has its account’s limits', async t => {
  const { limits, counted } = allLimits()
  const address = '192.0.2.9'
  for (let i = 0; i < 3; i++) {
    t.ok(limits.admit(address))
    limits.left(address)
    t.ok(limits.askHttp(address))
    t.doesNotThrow(() => limits.register(address))
  }
  t.same([limits.requestBucket(address), limits.beforeLogin(address)], [undefined, undefined])
  t.same(await counted(), {})
  limits.enter('1')
  t.throws(() => limits.enter('1'), GatewayError)
})

t.test('Limits: refusals by a limit are warnings, and all may be tried again', async t => {
  const warnings = (Object.keys(CODES) as CodeName[]).filter(isWarning)
  t.equal(warnings.length, 5)
  for (const one of warnings) t.ok(CODES[one].retry, one)
})
