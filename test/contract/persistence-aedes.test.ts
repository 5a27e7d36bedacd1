/** Unmodified Aedes over this persistence, with real clients. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { Aedes } from 'aedes'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import t, { type Test } from 'tap'
import type { KvStore } from '../../src/mqtt/routing/persistence/kv.js'
import type { PersistenceOptions } from '../../src/mqtt/routing/persistence/options.js'
import { BrokerPersistence } from '../../src/mqtt/routing/persistence/persistence.js'
import { STORES } from '../helpers/broker-persistence.js'

interface RunningBroker {
  readonly port: number
  readonly aedes: Aedes
  stop(): Promise<void>
}

async function startBroker(kv: KvStore, options: PersistenceOptions = {}): Promise<RunningBroker> {
  const aedes = new Aedes({
    persistence: new BrokerPersistence(kv, options),
  })
  await aedes.listen()
  const server = createServer(aedes.handle).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const stop = async () => {
    await new Promise<void>(resolve => aedes.close(() => resolve()))
    await new Promise(resolve => server.close(resolve))
  }
  return { port: (server.address() as AddressInfo).port, aedes, stop }
}

async function connect(port: number, options: IClientOptions): Promise<MqttClient> {
  return mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, ...options })
}

/** Topic, QoS and RETAIN of the next `count` messages; the messages must be listened for before they can come. */
function messages(client: MqttClient, count: number): Promise<string[]> {
  const seen: string[] = []
  return new Promise(resolve => {
    client.on('message', (topic, payload, { qos, retain }) => {
      seen.push(`${topic} ${payload} ${qos}${retain ? ' retained' : ''}`)
      if (seen.length === count) resolve(seen)
    })
  })
}

/**
 * Publishes one after another, each until Aedes is done with it: bare Aedes acknowledges a publication before it is
 * stored, so its PUBACK says nothing of the queue (src/mqtt/acknowledgements.ts cures that, and is not here).
 */
async function publishAll(
  { aedes, port }: RunningBroker,
  qos: 1 | 2,
  publications: readonly { topic: string; text: string; retain?: boolean }[],
): Promise<void> {
  const sender = await connect(port, { clientId: 'sender' })
  for (const { topic, text, retain = false } of publications) {
    const published = new Promise<void>(resolve => {
      const look = (packet: { topic: string }) => {
        if (packet.topic !== topic) return
        aedes.off('publish', look)
        resolve()
      }
      aedes.on('publish', look)
    })
    await sender.publishAsync(topic, text, { qos, retain })
    await published
  }
  await sender.endAsync()
}

/** A connection with a stored session, listening before its queue comes. */
function resume(t: Test, port: number, clientId: string): MqttClient {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { clientId, clean: false, reconnectPeriod: 0 })
  t.teardown(() => client.endAsync(true))
  return client
}

for (const { name, open } of STORES) {
  t.test(`${name}: session, queue in order and retained messages survive a restart of Aedes`, async t => {
    const store = await open(t)
    const first = await startBroker(store.kv)
    const device = await connect(first.port, { clientId: 'device', clean: false })
    await device.subscribeAsync('sensors/#', { qos: 1 })
    await device.endAsync()
    const readings = Array.from({ length: 20 }, (_, i) => ({ topic: 'sensors/t', text: String(i) }))
    await publishAll(first, 1, [...readings, { topic: 'state', text: 'on', retain: true }])
    await first.stop()
    await store.close()
    await store.open()

    const second = await startBroker(store.kv)
    t.teardown(second.stop)
    const again = resume(t, second.port, 'device')
    const queued = messages(again, 20)
    const [connack] = await once(again as never, 'connect')
    t.match(connack, { sessionPresent: true })
    t.same(
      await queued,
      readings.map(({ topic, text }) => `${topic} ${text} 1`),
    )
    const kept = messages(again, 1)
    await again.subscribeAsync('state', { qos: 1 })
    t.same(await kept, ['state on 1 retained'])
  })

  t.test(`${name}: overlapping filters queue a message once, at their highest QoS`, async t => {
    const broker = await startBroker((await open(t)).kv)
    t.teardown(broker.stop)
    const device = await connect(broker.port, { clientId: 'device', clean: false })
    await device.subscribeAsync({ 'a/+': { qos: 1 }, 'a/#': { qos: 2 } })
    await device.endAsync()
    await publishAll(broker, 2, [
      { topic: 'a/b', text: '1' },
      { topic: 'a/b', text: '2' },
    ])
    t.same(await messages(resume(t, broker.port, 'device'), 2), ['a/b 1 2', 'a/b 2 2'])
  })

  t.test(`${name}: a retained QoS 2 message does not cost a persistent session its connection`, async t => {
    const broker = await startBroker((await open(t)).kv)
    t.teardown(broker.stop)
    await publishAll(broker, 2, [{ topic: 'state', text: 'on', retain: true }])
    const device = await connect(broker.port, { clientId: 'device', clean: false })
    t.teardown(() => device.endAsync(true))
    const acknowledged = once(broker.aedes, 'ack')
    const kept = messages(device, 1)
    await device.subscribeAsync('state', { qos: 2 })
    t.same(await kept, ['state on 2 retained'])
    const [packet] = await acknowledged
    t.match(packet, { cmd: 'pubrel' })
    t.ok(device.connected)
  })

  t.test(`${name}: a clean CONNECT ends the stored session`, async t => {
    const broker = await startBroker((await open(t)).kv)
    t.teardown(broker.stop)
    const device = await connect(broker.port, { clientId: 'device', clean: false })
    await device.subscribeAsync('t', { qos: 1 })
    await device.endAsync()
    await (await connect(broker.port, { clientId: 'device', clean: true })).endAsync()
    const again = resume(t, broker.port, 'device')
    const [connack] = await once(again as never, 'connect')
    t.match(connack, { sessionPresent: false })
  })
}
