import t from 'tap'
import { LogRepeats } from '../../src/core/log-repeats.js'
import { AddressBuckets, AddressCounts } from '../../src/limits/address-buckets.js'
import { Guests } from '../../src/limits/guests.js'

t.test('the connection that is open longest without a login is closed, after its grace time', async t => {
  const closed: string[] = []
  const crowd = new Guests({ max: 3, reserved: 1, graceMs: 1000 })
  const join = (name: string, now: number) => crowd.join(who => closed.push(who), name, now)
  const inside = join('inside', 0)
  inside.entered()
  t.ok(crowd.makeRoom(false, 0))
  join('old', 0)
  t.ok(crowd.makeRoom(false, 1), 'two of three are for strangers')
  join('young', 1)
  t.notOk(crowd.makeRoom(false, 2), 'none has had its time')
  t.ok(crowd.makeRoom(false, 1000))
  t.same(closed, ['old'])
  t.ok(crowd.makeRoom(true, 1000), 'there was room for one more, who is known')
  join('known', 1000).entered()
  t.ok(crowd.makeRoom(false, 1001))
  t.same(closed, ['old', 'young'])
})

t.test('a share is reserved for known clients', async t => {
  const crowd = new Guests({ max: 10, reserved: 2, graceMs: 1000 })
  for (let i = 0; i < 8; i++) crowd.join(() => t.fail('closed'), undefined, 0)
  t.notOk(crowd.makeRoom(false, 1))
  t.ok(crowd.makeRoom(true, 1))
})

t.test('limits of an address, its /56 and its /48', async t => {
  const buckets = new AddressBuckets({ perSecond: 1e-9, burst: 2 })
  const taken = (addresses: string[]) => addresses.filter(one => buckets.of(one).take()).length
  const of48 = Array.from({ length: 65_536 / 16 }, (_, i) => `2001:db8:0:${(i * 16).toString(16)}::1`)
  t.equal(taken(['198.51.100.1', '198.51.100.1', '198.51.100.1', '::ffff:198.51.100.1']), 2)
  t.equal(taken(of48.slice(0, 16)), 8, 'sixteen /64 of one /56')
  t.equal(taken(of48), 24, 'the rest of the /48')
  t.equal(taken(['2001:db8:1::1', '2001:db8:1::2', '2001:db8:1::3']), 2, 'elsewhere')
  const counts = new AddressCounts(() => 1)
  for (const one of ['2001:db8::1', '2001:db8:0:1::1', '2001:db8:0:2::1', '2001:db8:0:3::1']) {
    t.ok(counts.hasRoom(one))
    counts.enter(one)
  }
  t.notOk(counts.hasRoom('2001:db8:0:4::1'))
  counts.leave('2001:db8::1')
  t.ok(counts.hasRoom('2001:db8:0:4::1'))
})

t.test('repeated refusals are one line and then a count', async t => {
  const repeats = new LogRepeats(10_000)
  const lines: object[] = []
  const say = (about: object) => {
    if (repeats.isFirst(about, 'm', line => lines.push(line))) lines.push(about)
  }
  for (let i = 0; i < 100; i++) say({ event: 'login.refused', code: 4, remoteAddress: 'a' })
  say({ event: 'login.refused', code: 4, remoteAddress: 'b' })
  for (let i = 0; i < 2; i++) say({ event: 'gateway.ready' })
  t.equal(lines.length, 4)
  repeats.flush()
  t.same(lines.slice(4), [{ event: 'login.refused', code: 4, remoteAddress: 'a', repeats: 99 }])
  repeats.flush()
  say({ event: 'login.refused', code: 4, remoteAddress: 'a' })
  t.equal(lines.length, 6, 'after a quiet time it is new')
  lines.length = 0
  for (let i = 0; i < 100_000; i++) say({ event: 'packet.refused', reason: `${i}` })
  t.ok(lines.length < 1100, `${lines.length} lines of 100,000 kinds`)
  repeats.flush()
  repeats.flush()
})
