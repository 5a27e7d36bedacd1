/** `users/<me>/replies` while the store takes its time: back-pressure, one commit for many, floods, closing. */
import type { IPublishPacket, Packet } from 'mqtt-packet'
import t, { type Test } from 'tap'
import { CODES } from '../../src/errors.js'
import type { KvWrite } from '../../src/store/store.js'
import { loggedIn, type RunningGateway, register } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'

const replyCode = ({ payload }: IPublishPacket): unknown => JSON.parse(payload.toString()).code

const refusedPublishes = (count: number, qos: 0 | 1) =>
  Array.from(
    { length: count },
    (_, i): Packet => ({
      cmd: 'publish',
      topic: 'anything',
      payload: 'x',
      qos,
      dup: false,
      retain: false,
      ...(qos > 0 && { messageId: i + 1 }),
    }),
  )

/** Waits until so many packets were refused. */
async function refused(gateway: RunningGateway, count: number): Promise<void> {
  const line = `mumi_mqtt_refused_total{reason="FORBIDDEN"} ${count}\n`
  while (!(await (await fetch(`${gateway.http}/metrics`)).text()).includes(line));
}

/** A gateway whose replies wait for the store: a session that reads them is away. */
async function holdReplies(t: Test) {
  const gateway = await startControlled(t)
  const account = await register(t, gateway)
  const away = { account, clientId: 'away', clean: false }
  const reader = await rawConnect(t, gateway, away)
  await reader.subscribe(`users/${account.id}/replies`)
  await reader.disconnect()
  const publisher = await rawConnect(t, gateway, { account, clientId: 'publisher' })
  return { gateway, account, away, publisher, release: gateway.hold('kvWrite') }
}

t.test('a refused PUBLISH and a request are acknowledged when their reply is stored', async t => {
  const { gateway, account, publisher, release, away } = await holdReplies(t)
  publisher.publish('anything', 'x', { qos: 1, messageId: 1 })
  publisher.publish(`users/${account.id}/requests`, '{"type":"none"}', { qos: 1, messageId: 2 })
  const other = await loggedIn(t, gateway)
  await other.action('query')
  t.same(publisher.unread, [])
  release()
  t.equal((await publisher.take('puback')).messageId, 1)
  t.equal((await publisher.take('puback')).messageId, 2)
  const reader = await rawConnect(t, gateway, away)
  const codes = [await reader.take('publish'), await reader.take('publish')].map(replyCode)
  t.same(codes, [CODES.FORBIDDEN.code, CODES.UNKNOWN_REQUEST.code])
})

t.test('replies that wait for the store are written together', async t => {
  const { gateway, publisher, release, away } = await holdReplies(t)
  publisher.send(...refusedPublishes(300, 1))
  await refused(gateway, 300)
  release()
  let turns = 0
  let isCounted = false
  const { kvWrite } = gateway.store
  Object.assign(gateway.store, {
    kvWrite(writes: KvWrite[]) {
      if (!isCounted) {
        turns++
        isCounted = true
        setImmediate(() => {
          isCounted = false
        })
      }
      return kvWrite.call(gateway.store, writes)
    },
  })
  for (let i = 0; i < 300; i++) await publisher.take('puback')
  t.ok(turns > 0 && turns < 10, `300 replies in ${turns} turns`)
  const reader = await rawConnect(t, gateway, away)
  for (let i = 0; i < 300; i++) t.equal(replyCode(await reader.take('publish')), CODES.FORBIDDEN.code)
})

t.test('of a flood of refused QoS 0 packets each is counted and only some are told', async t => {
  const { gateway, publisher, release, away } = await holdReplies(t)
  publisher.send(...refusedPublishes(5000, 0), { cmd: 'pingreq' })
  await publisher.take('pingresp')
  await refused(gateway, 5000)
  release()
  const reader = await rawConnect(t, gateway, away)
  await reader.take('publish')
  reader.send({ cmd: 'pingreq' })
  await reader.take('pingresp')
  t.same(reader.unread, [])
})

t.test('a gateway that closes does not wait for replies that the store does not take', async t => {
  const { gateway, publisher } = await holdReplies(t)
  publisher.send(...refusedPublishes(10, 1))
  await refused(gateway, 10)
  await t.resolves(gateway.close())
})
