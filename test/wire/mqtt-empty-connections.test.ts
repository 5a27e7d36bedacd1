/** Connections that end without a login, such as health checks of a load balancer: they cost the store nothing. */
import { once } from 'node:events'
import { connect } from 'node:net'
import mqttPacket from 'mqtt-packet'
import t from 'tap'
import { loggedIn, register } from '../helpers/gateway.js'
import { TEST_STORE } from '../helpers/mongodb.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { readersIn, rootOf, storeDir } from '../helpers/readers.js'
import { startControlled } from '../helpers/store-control.js'

const CONNECTIONS = 1000
const AT_ONCE = 100

const gateway = await startControlled(t, { 'limits.connections': 100_000 })

async function end(bytes: Buffer): Promise<void> {
  const socket = connect({ port: gateway.mqttPort, host: '127.0.0.1' })
  socket.on('error', () => undefined)
  socket.resume()
  await once(socket, 'connect')
  socket.end(bytes)
  await once(socket, 'close')
}

const REFUSED = mqttPacket.generate({
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: 4,
  clientId: 'x'.repeat(200),
  clean: true,
  keepalive: 10,
})

for (const [name, bytes] of [
  ['without a byte', Buffer.alloc(0)],
  ['with half a CONNECT', REFUSED.subarray(0, 20)],
  ['with a CONNECT that is refused', REFUSED],
] as const) {
  t.test(`${CONNECTIONS} that close ${name}`, async t => {
    for (let i = 0; i < CONNECTIONS; i += AT_ONCE)
      await Promise.all(Array.from({ length: AT_ONCE }, () => end(bytes)))
    if (TEST_STORE === 'embedded') {
      const readers = readersIn(rootOf(t, storeDir(gateway.dir)))
      t.ok(readers <= 4, `${readers} readers of the store`)
    }
    t.equal((await fetch(`${gateway.http}/readyz`)).status, 200)
    const client = await loggedIn(t, gateway)
    t.match(await client.action('query', { id: client.userId }), { code: 200 })
    await client.close()
  })
}

t.test('a refused CONNECT does not affect the device with its client id', async t => {
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  const device = await rawConnect(t, gateway, { account: ann, clientId: 'pump', clean: false })
  const send = async () => {
    // Until PUBREL the packet id names this one message [MQTT-4.3.3-2].
    device.publish(`users/${bob.id}/inbox`, 'once', { qos: 2, messageId: 7 })
    await device.take('pubrec')
  }
  await send()
  const liar = { ...ann, password: 'wrong' }
  for (let i = 0; i < 3; i++) {
    const refused = await rawConnect(t, gateway, { account: liar, clientId: `${ann.id}:pump` })
    t.not(refused.connack.returnCode, 0)
    await refused.closed
  }
  await send()
  t.equal(await gateway.store.inbox.lastSeq(bob.id), 1)
})

t.test('readiness includes reading from the store, not only writing', async t => {
  const restore = gateway.fail('findUsers', 'STORE_UNAVAILABLE')
  t.equal((await fetch(`${gateway.http}/readyz`)).status, 503)
  t.match(gateway.logs.at(-1), { event: 'store.failed', operation: 'ping' })
  restore()
  t.equal((await fetch(`${gateway.http}/readyz`)).status, 200)
  t.match(gateway.logs.at(-1), { event: 'store.recovered' })
})
