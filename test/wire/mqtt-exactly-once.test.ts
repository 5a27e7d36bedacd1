import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Qos2Reader, Qos2Sender, shake } from '../helpers/exactly-once.js'
import { register, startGateway } from '../helpers/gateway.js'

t.setTimeout(90_000)

const SENDERS = 4
const EACH = 150

t.test('QoS 2 comes exactly once to a session that connects again all the time [MQTT-4.3.3]', async t => {
  const gateway = await startGateway(t, { 'mqtt.acl': 'open' })
  const account = await register(t, gateway)
  const reader = new Qos2Reader(gateway, account, 'reader', 'news/#').start()
  t.teardown(() => reader.end())
  await reader.subscribed
  const stopShaking = shake(reader, 40)
  const senders = Array.from({ length: SENDERS }, (_, s) => {
    const payloads = Array.from({ length: EACH }, (_, i) => `${s}/${i}`)
    return new Qos2Sender(gateway, account, `sender-${s}`, {
      topic: `news/${s}`,
      payloads,
      window: 5,
    }).start()
  })
  t.teardown(() => Promise.all(senders.map(sender => sender.end())))
  await Promise.all(senders.map(({ finished }) => finished))
  await stopShaking()
  const isThere = () => new Set(reader.got.map(({ payload }) => payload)).size === SENDERS * EACH
  for (let tries = 0; !isThere() && tries < 600; tries++) await delay(100)
  t.ok(isThere(), `${reader.got.length} came`)
  await delay(300)
  t.same(reader.repeated, [])
})
