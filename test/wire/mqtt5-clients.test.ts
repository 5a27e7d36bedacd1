/** MQTT.js at version 5, over TCP and over WebSocket. Other real clients: test/process/mosquitto5, test/slow/mqtt5-clients. */
import { type EventEmitter, once } from 'node:events'
import type { IPublishPacket, MqttClient } from 'mqtt'
import t from 'tap'
import { mqttClient, register, startGateway } from '../helpers/gateway.js'
import { unique } from '../helpers/raw-mqtt5.js'

const gateway = await startGateway(t, { 'mqtt.acl': 'open' })
const account = await register(t, gateway)
const login = { username: account.email, password: account.password, protocolVersion: 5 as const }
const urls = {
  TCP: `mqtt://127.0.0.1:${gateway.mqttPort}`,
  WebSocket: `ws://127.0.0.1:${gateway.httpPort}/mqtt`,
}

/** An event of MQTT.js, whose emitter has a type of its own. */
const next = (client: MqttClient, event: string): Promise<unknown[]> =>
  once(client as unknown as EventEmitter, event)

for (const [way, url] of Object.entries(urls)) {
  t.test(`${way}: properties, subscription options, reason codes`, async t => {
    const topic = unique()
    const { mqtt: reader } = await mqttClient(t, gateway, { ...login, url })
    const grants = await reader.subscribeAsync(topic, {
      qos: 2,
      rap: true,
      properties: { subscriptionIdentifier: 7, userProperties: { a: 'b' } },
    })
    t.match(grants, [{ topic, qos: 2 }])
    const { mqtt: writer } = await mqttClient(t, gateway, { ...login, url })
    const properties = {
      payloadFormatIndicator: true,
      messageExpiryInterval: 1000,
      contentType: 'text/plain',
      responseTopic: 'answers',
      correlationData: Buffer.from([0, 1]),
      userProperties: { one: '1', two: ['2', '3'] },
    }
    for (const qos of [0, 1, 2] as const) {
      const arrived = next(reader, 'message')
      await writer.publishAsync(topic, `at ${qos}`, { qos, retain: true, properties })
      const [, payload, packet] = (await arrived) as [string, Buffer, IPublishPacket]
      t.equal(payload.toString(), `at ${qos}`)
      t.match(packet, { qos, retain: true, properties: { ...properties, subscriptionIdentifier: 7 } })
    }
    await t.rejects(
      writer.publishAsync('users/999999999/inbox', 'x', { qos: 1 }),
      { message: 'Publish error: Topic Name invalid' },
      'a refused PUBLISH rejects',
    )
    await t.rejects(reader.subscribeAsync('users/100000001/inbox/#'), 'a refused SUBSCRIBE rejects')
    await reader.unsubscribeAsync(topic)
  })

  t.test(`${way}: wrong credentials and the end of an account`, async t => {
    await t.rejects(mqttClient(t, gateway, { ...login, url, password: 'wrong' }), { code: 0x86 })
    await t.rejects(mqttClient(t, gateway, { protocolVersion: 5, url }), { code: 0x87 })
  })

  t.test(`${way}: a session that is kept, and who takes it over`, async t => {
    const topic = unique()
    const session = {
      ...login,
      url,
      clientId: unique('client'),
      clean: false,
      properties: { sessionExpiryInterval: 60 },
    }
    const first = await mqttClient(t, gateway, session)
    t.equal(first.sessionPresent, false)
    await first.mqtt.subscribeAsync(topic, { qos: 1 })
    const told = next(first.mqtt, 'disconnect')
    const second = await mqttClient(t, gateway, session)
    t.equal(second.sessionPresent, true)
    t.match(await told, [{ cmd: 'disconnect', reasonCode: 0x8e }])
    await second.mqtt.endAsync()
    const writer = await mqttClient(t, gateway, { ...login, url })
    await writer.mqtt.publishAsync(topic, 'while away', { qos: 1 })
    const third = await mqttClient(t, gateway, session)
    t.match(await third.next(), { payload: 'while away', qos: 1 })
  })

  t.test(`${way}: topic aliases both ways`, async t => {
    const topic = unique()
    const reader = await mqttClient(t, gateway, { ...login, url, properties: { topicAliasMaximum: 5 } })
    await reader.mqtt.subscribeAsync(topic)
    const writer = await mqttClient(t, gateway, { ...login, url, autoAssignTopicAlias: true })
    for (let i = 0; i < 5; i++) await writer.mqtt.publishAsync(topic, `${i}`, { qos: 1 })
    for (let i = 0; i < 5; i++) t.match(await reader.next(), { topic, payload: `${i}` })
  })
}
