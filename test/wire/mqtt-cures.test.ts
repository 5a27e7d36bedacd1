/** Faults of Aedes 1.2 that are corrected here. Each test is named after the fault. */
import t from 'tap'
import { GatewayError } from '../../src/core/errors.js'
import { loggedIn, type MqttTestClient, mqttClient, register, startGateway } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'

const PLAIN = { 'mqtt.acl': 'open', 'mqtt.anonymous': true }

async function payloads(client: MqttTestClient, count: number): Promise<string[]> {
  const all: string[] = []
  while (all.length < count) all.push((await client.next()).payload)
  return all
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i}`)

t.test('packets that overtook each other in the store were dropped by its counter', async t => {
  const gateway = await startControlled(t, PLAIN)
  const persistent = await mqttClient(t, gateway, { clientId: 'persistent', clean: false })
  const clean = await mqttClient(t, gateway, { clientId: 'clean' })
  const readers = [persistent, clean]
  for (const { mqtt } of readers) await mqtt.subscribeAsync('x', { qos: 1 })
  const kept = await mqttClient(t, gateway, { clientId: 'kept' })
  const fleeting = await mqttClient(t, gateway, { clientId: 'fleeting' })
  const release = gateway.hold('kvWrite')
  const published = numbers(50).map(n => kept.mqtt.publishAsync('x', `1 ${n}`, { qos: 1 }))
  await Promise.all(numbers(50).map(n => fleeting.mqtt.publishAsync('x', `0 ${n}`, { qos: 0 })))
  for (const reader of readers)
    t.same(
      await payloads(reader, 50),
      numbers(50).map(n => `0 ${n}`),
    )
  release()
  await Promise.all(published)
  for (const reader of readers)
    t.same(
      await payloads(reader, 50),
      numbers(50).map(n => `1 ${n}`),
    )
})

t.test('QoS 0 and 1 alternating from one publisher lost QoS 1, while the store took its time', async t => {
  const gateway = await startControlled(t, PLAIN)
  const reader = await mqttClient(t, gateway, { clientId: 'reader', clean: false })
  await reader.mqtt.subscribeAsync('x', { qos: 1 })
  const publisher = await mqttClient(t, gateway, { clientId: 'publisher' })
  const release = gateway.hold('kvWrite')
  const published = numbers(50).map(n =>
    publisher.mqtt.publishAsync('x', n, { qos: (Number(n) % 2) as 0 | 1 }),
  )
  release()
  await Promise.all(published)
  t.same(await payloads(reader, 50), numbers(50))
})

t.test('a subscriber that never answers held up publishers and other subscribers', async t => {
  const gateway = await startGateway(t, { ...PLAIN, 'mqtt.maxBufferedBytes': '64KiB' })
  const frozen = []
  for (const [clientId, qos, clean] of [
    ['f0', 0, true],
    ['f1', 1, true],
    ['f2', 2, false],
  ] as const) {
    const client = await rawConnect(t, gateway, { clientId, clean })
    await client.subscribe('x', qos)
    client.socket.pause()
    frozen.push(client)
  }
  const reader = await mqttClient(t, gateway, { clientId: 'reader' })
  await reader.mqtt.subscribeAsync('x', { qos: 1 })
  const publisher = await mqttClient(t, gateway, { clientId: 'publisher' })
  // Far more than buffers of sockets and gateway take together.
  const payload = 'x'.repeat(100_000)
  for (let i = 0; i < 150; i++) {
    await publisher.mqtt.publishAsync('x', `${i} ${payload}`, { qos: 2 })
    t.ok((await reader.next()).payload.startsWith(`${i} `))
  }
  // The session that froze was cut off, and has everything when it returns.
  const [, , persistent] = frozen
  const got = new Set<number>()
  const collect = (bytes: string) => got.add(Number(bytes.split(' ', 1)[0]))
  persistent?.socket.resume()
  await persistent?.closed
  for (const packet of persistent?.unread ?? [])
    if (packet.cmd === 'publish') collect(packet.payload.toString())
  const back = await mqttClient(t, gateway, { clientId: 'f2', clean: false })
  while (got.size < 150) collect((await back.next()).payload)
  t.equal(got.size, 150)
})

t.test('QoS 0 that a client does not take in time is skipped, and its connection lives', async t => {
  const gateway = await startGateway(t, { ...PLAIN, 'mqtt.maxBufferedBytes': '64KiB' })
  const slow = await rawConnect(t, gateway, { clientId: 'slow' })
  await slow.subscribe('x', 0)
  slow.socket.pause()
  const publisher = await mqttClient(t, gateway, { clientId: 'publisher' })
  const payload = Buffer.alloc(100_000)
  for (let i = 0; i < 150; i++) await publisher.mqtt.publishAsync('x', payload, { qos: 1 })
  slow.socket.resume()
  slow.send({ cmd: 'pingreq' })
  let packet = await slow.next()
  let count = 0
  for (; packet.cmd === 'publish'; packet = await slow.next()) count++
  t.equal(packet.cmd, 'pingresp')
  t.ok(count > 0 && count < 150, `${count} of 150`)
  const metrics = await (await fetch(`${gateway.http}/metrics`)).text()
  t.match(metrics, new RegExp(`limit="mqtt\\.maxBufferedBytes"\\} ${150 - count}\\n`))
})

t.test('a PUBACK named no message for a clean session: now inbox and topics share a connection', async t => {
  const gateway = await startGateway(t, { 'mqtt.acl': 'open' })
  const account = await register(t, gateway)
  const { email: username, password } = account
  const publisher = await mqttClient(t, gateway, { username, password })
  for (const clean of [true, false]) {
    const clientId = `both ${clean}`
    const client = await rawConnect(t, gateway, { account, clientId, clean })
    await client.subscribe([`users/${account.id}/inbox/#`, 'topic'])
    const ids = { inbox: 0, topic: 0 }
    await publisher.mqtt.publishAsync(`users/${account.id}/inbox`, 'a', { qos: 1 })
    await publisher.mqtt.publishAsync('topic', 'b', { qos: 1 })
    for (let i = 0; i < 2; i++) {
      const { topic, messageId } = await client.take('publish')
      ids[topic === 'topic' ? 'topic' : 'inbox'] = messageId
    }
    t.ok(ids.topic > 0 && ids.topic < 0x8000 && ids.inbox >= 0x8000, JSON.stringify(ids))
    client.ack('puback', ids.topic)
    await client.disconnect()
    const again = await rawConnect(t, gateway, { account, clientId, clean })
    if (clean)
      again.send({
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [{ topic: `users/${account.id}/inbox/#`, qos: 1 }],
      })
    if (clean) await again.take('suback')
    t.match(await again.take('publish'), { messageId: ids.inbox, dup: true })
    again.ack('puback', ids.inbox)
    again.send({ cmd: 'pingreq' })
    await again.take('pingresp')
    t.same(again.unread, [])
    await again.disconnect()
  }
})

t.test('a packet id was used again while a clean session still owed its acknowledgement', async t => {
  const gateway = await startGateway(t, PLAIN)
  const client = await rawConnect(t, gateway, { clientId: 'owes' })
  await client.subscribe('x', 1)
  const publisher = await mqttClient(t, gateway, { clientId: 'publisher' })
  await Promise.all(numbers(500).map(n => publisher.mqtt.publishAsync('x', n, { qos: 1 })))
  const ids = new Set<number>()
  for (let i = 0; i < 500; i++) ids.add((await client.take('publish')).messageId)
  t.equal(ids.size, 500)
})

t.test('one failed write of a session closes that connection and nothing else', async t => {
  const gateway = await startControlled(t, PLAIN)
  const subscriber = await rawConnect(t, gateway, { clientId: 'subscriber', clean: false })
  const other = await rawConnect(t, gateway, { clientId: 'other' })
  const restore = gateway.fail('kvWrite', 'STORE_FULL')
  subscriber.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'x', qos: 1 }] })
  await subscriber.closed
  t.same(subscriber.unread, [])
  const refused = await rawConnect(t, gateway, { clientId: 'late', clean: false })
  t.equal(refused.connack.returnCode, 3)
  // QoS 0 needs no store.
  t.same(await other.subscribe('y', 0), [0])
  other.publish('y', 'still routed')
  t.match(await other.take('publish'), { topic: 'y' })
  restore()
  const back = await rawConnect(t, gateway, { clientId: 'subscriber', clean: false })
  t.same(await back.subscribe('x'), [1])
})

t.test('a PUBREL that could not be stored got PUBCOMP, and the next message of its id was lost', async t => {
  const gateway = await startControlled(t)
  const sender = await register(t, gateway)
  const reader = await loggedIn(t, gateway)
  const options = { account: sender, clientId: 'sender', clean: false }
  const inbox = `users/${reader.userId}/inbox`
  const first = await rawConnect(t, gateway, options)
  first.publish(inbox, 'one', { qos: 2, messageId: 1 })
  await first.take('pubrec')
  const fails = () => Promise.reject(new GatewayError('STORE_UNAVAILABLE'))
  Object.assign(gateway.store.kv, { kvWrite: fails })
  first.ack('pubrel', 1)
  await first.closed
  t.same(first.unread, [], 'no PUBCOMP')
  Reflect.deleteProperty(gateway.store.kv, 'kvWrite')

  const again = await rawConnect(t, gateway, options)
  again.ack('pubrel', 1)
  await again.take('pubcomp')
  again.publish(inbox, 'two', { qos: 2, messageId: 1 })
  await again.take('pubrec')
  t.match(await reader.next(), { content: 'one' })
  t.match(await reader.next(), { content: 'two' })
})

t.test('what came while the queue of a slow session was being sent filled the memory', async t => {
  const gateway = await startGateway(t, { ...PLAIN, 'mqtt.maxBufferedBytes': '64KiB' })
  const options = { clientId: 'slow', clean: false }
  const slow = await rawConnect(t, gateway, options)
  await slow.subscribe('x', 1)
  await slow.disconnect()
  const publisher = await mqttClient(t, gateway, { clientId: 'publisher' })
  // Far more than buffers of sockets and gateway take together.
  const payload = 'x'.repeat(100_000)
  for (let i = 0; i < 150; i++) await publisher.mqtt.publishAsync('x', payload, { qos: 1 })
  const frozen = await rawConnect(t, gateway, options)
  frozen.socket.pause()
  await publisher.mqtt.publishAsync('x', payload, { qos: 1 })
  const metrics = await (await fetch(`${gateway.http}/metrics`)).text()
  t.match(metrics, 'mumi_connections_closed_total{front="mqtt",reason="SLOW_CLIENT"} 1\n')
  await frozen.drop()
  const back = await mqttClient(t, gateway, options)
  for (let i = 0; i < 151; i++) t.equal((await back.next()).payload.length, payload.length)
})
