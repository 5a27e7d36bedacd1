/** Traffic, and the topics that tell what the broker counts. */
import t from 'tap'
import { version } from '../../src/core/version.js'
import type { RoutedPacket } from '../../src/mqtt/routing/packet.js'
import { SystemTopics } from '../../src/mqtt/system-topics.js'
import { Traffic } from '../../src/mqtt/wire/traffic.js'
import { startParts } from '../helpers/mqtt-parts.js'

t.test('traffic counts packets, bytes and PUBLISH packets of both ways', async t => {
  const traffic = new Traffic()
  traffic.receive(0x3b, 10)
  traffic.receive(0xc0, 2)
  traffic.send(Buffer.of(0x30, 3, 0, 1, 0x61))
  traffic.send(Buffer.of(0xd0, 0))
  t.same(traffic.received, { packets: 2, bytes: 12, publishes: 1 })
  t.same(traffic.sent, { packets: 2, bytes: 7, publishes: 1 })
})

t.test('the version is that of package.json', async t => t.match(version(), /^\d+\.\d+\.\d+/))

t.test('a filter gets the values of its topics', async t => {
  const { parts } = await startParts(t)
  const values = (...filters: string[]) => [...parts.system.matching(filters)].map(({ topic }) => topic)
  t.same(values('#', '+/broker/uptime', 'a'), [])
  t.same(values('$SYS/broker/uptime', '$SYS/+/uptime'), ['$SYS/broker/uptime'])
  t.same(values('$SYS/broker/clients/+').length, 4)
  const all = [...parts.system.matching(['$SYS/#'])]
  t.ok(all.length > 10)
  for (const { payload } of all) t.match(payload.toString(), /^(\d+( seconds)?|mumi-gateway version .*)$/)
})

t.test('values that have changed are routed', async t => {
  const { parts } = await startParts(t)
  const got: string[] = []
  const subscriber = {
    clientId: 'c',
    deliver: ({ topic, payload }: RoutedPacket) => got.push(`${topic.slice(12)} ${payload}`),
  }
  for (const filter of ['$SYS/broker/messages/#', '#'])
    parts.router.add(filter, { qos: 0 }, subscriber as never)
  const system = new SystemTopics(parts)
  system.tell()
  t.same(got.splice(0), ['messages/received 0', 'messages/sent 0'])
  system.tell()
  t.same(got, [])
  system.traffic.receive(0xc0, 2)
  system.tell()
  t.same(got, ['messages/received 1'])
})
