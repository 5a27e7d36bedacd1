/** If a handler of a connection throws, that connection ends with a log line, and others are served. */
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { InboxDelivery } from '../../src/json/inbox-delivery.js'
import { Liveness } from '../../src/json/liveness.js'
import { JsonServer } from '../../src/json/server.js'
import { Limits } from '../../src/limits/limits.js'
import { TopicAccess } from '../../src/mqtt/acl/access.js'
import { MqttBroker } from '../../src/mqtt/broker.js'
import { MqttConnection } from '../../src/mqtt/connection.js'
import { Connections } from '../../src/mqtt/connections.js'
import { PacketGate } from '../../src/mqtt/wire/packet-gate.js'
import { jsonClient, loggedIn, mqttClient, type RunningGateway, startGateway } from '../helpers/gateway.js'

const gateway = await startGateway(t, { 'limits.handshakeTimeout': '500ms', 'heartbeat.timeout': '400ms' })

/** Makes the next call of a method throw; later calls work. */
function plant<T extends object>(t: Test, prototype: T, method: keyof T & string): void {
  const real = prototype[method] as (...args: unknown[]) => unknown
  const restore = () => Object.assign(prototype, { [method]: real })
  t.teardown(restore)
  Object.assign(prototype, {
    [method]: () => {
      restore()
      throw new Error(`planted in ${method}`)
    },
  })
}

/** Resolves when a line says that the handler failed. */
async function failed({ logs }: RunningGateway, where: string): Promise<void> {
  while (!logs.some(line => line.event === 'handler.failed' && line.where === where))
    await new Promise(setImmediate)
}

const opened = async (t: Test, path = '/'): Promise<WebSocket> => {
  const ws = new WebSocket(`ws://127.0.0.1:${gateway.httpPort}${path}`)
  t.teardown(() => ws.terminate())
  await once(ws, 'open')
  return ws
}

const closed = (ws: { on(event: 'close', done: () => void): unknown }) =>
  new Promise<void>(resolve => ws.on('close', () => resolve()))

t.afterEach(async t => {
  const client = await jsonClient(t as Test, gateway)
  await client.close()
})

t.test('a socket', async t => {
  for (const port of [gateway.httpPort, gateway.mqttPort]) {
    plant(t, Limits.prototype, 'admit')
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    await closed(socket)
  }
  await failed(gateway, 'socket')
})

t.test('an upgrade', async t => {
  plant(t, JsonServer.prototype, 'upgrade')
  const ws = new WebSocket(`ws://127.0.0.1:${gateway.httpPort}/`)
  await once(ws, 'error')
  await failed(gateway, 'http.upgrade')
})

t.test('the time-out of a request', async t => {
  plant(t, Limits.prototype, 'count')
  const socket = connect(gateway.httpPort, '127.0.0.1')
  socket.on('error', () => undefined)
  await closed(socket)
  await failed(gateway, 'http.timeout')
})

t.test('what a WebSocket brings: a message, a ping, a pong', async t => {
  for (const kind of ['message', 'ping', 'pong'] as const) {
    const ws = await opened(t)
    plant(t, Liveness.prototype, 'seen')
    if (kind === 'message') ws.send('{}')
    else ws[kind]()
    await closed(ws)
    await failed(gateway, `ws.${kind}`)
  }
})

t.test('the end of a turn, the check of all, the end of a connection', async t => {
  const client = await loggedIn(t, gateway)
  plant(t, InboxDelivery.prototype, 'pingPayload')
  client.send({ type: 'action', action: 'query', id: 'q', data: { id: client.userId } })
  await client.closed
  await failed(gateway, 'ws.turn-end')
  const checked = await opened(t)
  plant(t, Liveness.prototype, 'check')
  await closed(checked)
  await failed(gateway, 'ws.check')
  const left = await opened(t)
  plant(t, Liveness.prototype, 'ended')
  left.terminate()
  await failed(gateway, 'ws.close')
})

t.test('what MQTT brings: a connection, a packet, a session, a subscription', async t => {
  plant(t, MqttBroker.prototype, 'take')
  await t.rejects(mqttClient(t, gateway))
  plant(t, PacketGate.prototype, 'push')
  await t.rejects(mqttClient(t, gateway))
  await failed(gateway, 'mqtt.packet')
  const open = await startGateway(t, { 'mqtt.anonymous': true, 'mqtt.acl': 'open' })
  const client = await mqttClient(t, open)
  plant(t, TopicAccess.prototype, 'subscribe')
  const gone = closed(client.mqtt)
  client.mqtt.subscribe('a', () => undefined)
  await gone
  await failed(open, 'mqtt.subscribe')
  plant(t, Connections.prototype, 'hold')
  const left = await mqttClient(t, open).catch(() => undefined)
  if (left?.mqtt.connected) await closed(left.mqtt)
  await failed(open, 'mqtt.connect')
  plant(t, MqttConnection.prototype, 'publish')
  const publisher = await mqttClient(t, open)
  const ended = closed(publisher.mqtt)
  publisher.mqtt.publish('a', 'x', { qos: 1 }, () => undefined)
  await ended
  await failed(open, 'mqtt.publish')
  await mqttClient(t, open)
})
