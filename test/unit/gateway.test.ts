/** The composition root as it runs: parts over a real store, ports with real sockets, start and close. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { Passwords } from '../../src/accounts/passwords.js'
import { closeParts, compose } from '../../src/app/compose.js'
import { Gateway } from '../../src/app/gateway.js'
import { IDLE_OPERATION } from '../../src/app/operation.js'
import { limitRules } from '../../src/app/options.js'
import { Front } from '../../src/app/ports.js'
import { makeStore } from '../../src/app/stores.js'
import { type Config, loadConfig } from '../../src/config/config.js'
import { createLogger } from '../../src/core/log.js'
import { Metrics } from '../../src/core/metrics.js'
import { Limits } from '../../src/limits/limits.js'
import { MqttBroker } from '../../src/mqtt/broker.js'
import type { CopyableStore } from '../../src/store/contents.js'
import { dataDir } from '../helpers/gateway.js'
import { RawMqtt } from '../helpers/raw-mqtt.js'

const FREE = ['http', 'mqtt', 'mqtts', 'ops'].map(part => `--${part}.port=0`)

/** A config for a folder of its own. */
const configOf = (t: Test, ...argv: string[]) =>
  loadConfig({
    argv: [...FREE, '--passwords.cost=4', '--passwords.common=allow', `--data.dir=${dataDir(t)}`, ...argv],
    env: {},
  })

function logging() {
  const logs: Record<string, unknown>[] = []
  const log = createLogger(
    { level: 'debug', pretty: 'never' },
    { write: line => logs.push(JSON.parse(line)) },
  )
  return { log, logs, events: () => logs.map(({ event }) => event) }
}

/** A port that somebody else has. */
async function takenPort(t: Test): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function openStore(t: Test, config: Config): Promise<CopyableStore> {
  const store = await makeStore(config)
  await store.open()
  t.teardown(() => store.close())
  return store
}

/** The parts over a store, as `Gateway` makes them. */
async function composed(config: Config, store: CopyableStore) {
  const { log, logs, events } = logging()
  const metrics = new Metrics()
  const limits = new Limits(limitRules(config), metrics)
  const passwords = new Passwords(config.passwords)
  const audited: string[] = []
  const audit = {
    record: ({ event }: { event: string }) => void audited.push(event),
    reopen: () => undefined,
    close: async () => undefined,
  }
  const parts = await compose(
    { config, log, metrics, limits, passwords, audit, operation: () => IDLE_OPERATION },
    store,
  )
  await parts.broker.start()
  const close = async () => {
    await closeParts(parts, 0)
    await passwords.close()
  }
  return { parts, audited, logs, events, log, metrics, close }
}

t.test(
  'compose: ids of a second start on one store are higher; a token key that is due is replaced and audited',
  async t => {
    const config = configOf(t, '--tokens.keyLifetime=1m', '--http.host=127.0.0.1')
    const store = await openStore(t, config)
    const first = await composed(config, store)
    const id = first.parts.ids.next(Date.now())
    await first.close()
    t.same(first.audited, [], 'the first key replaces none')
    const { now } = Date
    t.intercept(Date, 'now', { value: () => now() + 120_000 })
    const second = await composed(config, store)
    t.ok(second.parts.ids.next(now() - 1000) > id, 'a clock that was set back does not count')
    t.same(second.audited, ['keys.rotated'])
    await second.close()
  },
)

async function front(t: Test, ...argv: string[]) {
  const config = configOf(t, ...['http', 'mqtt'].map(part => `--${part}.host=127.0.0.1`), ...argv)
  const { parts, log, logs, events, close } = await composed(config, await openStore(t, config))
  const one = new Front(config, {
    sockets: new Map(),
    ...parts,
    ops: () => false,
    publicOps: () => false,
    pages: () => false,
    rest: undefined,
    files: () => () => false,
    onFault: (_where, thrown) => {
      throw thrown
    },
    log,
  })
  t.teardown(async () => {
    const closed = one.close()
    await close()
    one.cut()
    await closed
  })
  return { one, logs, events, config, parts }
}

t.test(
  'ports: only those that are switched on listen; one that other machines reach without TLS is a warning',
  async t => {
    const { one, events } = await front(t, '--http.enabled=false')
    const { http, mqtt, mqtts, metrics } = await one.listen()
    t.match(
      { http, mqtts, mqtt, metrics },
      { http: undefined, mqtts: undefined, mqtt: { port: Number }, metrics: {} },
    )
    t.notOk(events().includes('tls.off'))
    const open = await front(t, '--mqtt.enabled=false', '--http.host=0.0.0.0')
    const ports = await open.one.listen()
    t.match(ports, { mqtt: undefined })
    t.match(
      open.logs.filter(({ event }) => event === 'tls.off'),
      [{ port: ports.http?.port }],
    )
  },
)

t.test('ports: a port in use fails the start; without the ops port the gateway serves', async t => {
  const port = await takenPort(t)
  const { one, events } = await front(t, `--ops.port=${port}`)
  t.match(await one.listen(), { metrics: undefined, http: { port: Number } })
  t.ok(events().includes('ops.unavailable'))
  const other = await front(t, `--http.port=${port}`)
  await t.rejects(other.one.listen(), { code: 'EADDRINUSE' })
})

/** The HTTP status that a WebSocket gets; 101 where it is let in. */
async function statusOf(t: Test, port: number | undefined, headers: Record<string, string>): Promise<number> {
  const ws = new WebSocket(`ws://127.0.0.1:${port}/`, { headers })
  t.teardown(() => ws.terminate())
  const [kind, status] = await Promise.race([
    once(ws, 'open').then(() => ['open', 101] as const),
    once(ws, 'unexpected-response').then(([, { statusCode }]) => ['refused', Number(statusCode)] as const),
  ])
  return kind === 'open' ? 101 : status
}

t.test(
  'ports: clients behind a trusted proxy are counted one by one; pages of other origins are refused',
  async t => {
    const { one, events } = await front(
      t,
      ...[
        '--http.trustProxy=127.0.0.1',
        '--limits.connectionsPerAddress=1',
        '--http.origins=https://chat.example',
      ],
    )
    const port = (await one.listen()).http?.port
    const from = (address: string) => ({ 'X-Forwarded-For': address })
    t.equal(await statusOf(t, port, from('192.0.2.1')), 101)
    t.equal(await statusOf(t, port, from('192.0.2.1')), 429)
    t.equal(await statusOf(t, port, from('192.0.2.2')), 101)
    t.equal(await statusOf(t, port, { ...from('192.0.2.3'), Origin: 'https://evil.example' }), 403)
    t.ok(events().includes('origin.refused'))
    t.equal(await statusOf(t, port, { ...from('192.0.2.3'), Origin: 'https://chat.example' }), 101)
    t.equal(await statusOf(t, port, {}), 101)
    t.ok(events().includes('proxy.client-unknown'))
  },
)

t.test('ports: an MQTT client that is turned away gets CONNACK 0x03 (MQTT 3.1.1, table 3.1)', async t => {
  const { one } = await front(t, '--limits.connectionsPerAddress=1', '--limits.exempt=[]')
  const { mqtt } = await one.listen()
  const dial = () => {
    const socket = connect(mqtt?.port ?? 0, '127.0.0.1')
    t.teardown(() => socket.destroy())
    return new RawMqtt(socket)
  }
  await once(dial().socket, 'connect')
  const second = dial()
  t.match(await second.take('connack'), { returnCode: 3 }, 'before it said CONNECT')
  await second.closed
})

t.test(
  'MqttBroker: runs until it closes; a will is published then, unless DISCONNECT came just before',
  async t => {
    const config = configOf(t, '--mqtt.anonymous=true', '--mqtt.acl=open')
    const store = await openStore(t, config)
    const { parts, close } = await composed(config, store)
    const { broker } = parts
    t.ok(broker instanceof MqttBroker)
    const server = createServer(socket => broker.take(socket)).listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await once(server, 'listening')
    const dial = async (clientId: string) => {
      const client = new RawMqtt(connect((server.address() as AddressInfo).port, '127.0.0.1'))
      const will = { topic: `gone/${clientId}`, payload: Buffer.from('x'), qos: 1, retain: true } as const
      client.send({ cmd: 'connect', clientId, clean: true, keepalive: 0, will })
      t.match(await client.take('connack'), { returnCode: 0 })
      return client
    }
    const [polite, other] = [await dial('polite'), await dial('other')]
    t.same([broker.connections, broker.isRunning], [2, true])
    polite.send({ cmd: 'disconnect' })
    broker.stopTaking()
    t.notOk(broker.isRunning)
    await close()
    await Promise.all([polite.closed, other.closed])
    t.equal(broker.connections, 0)
    t.ok(await store.kv.kvGet('retained', ['gone', 'other']))
    t.equal(await store.kv.kvGet('retained', ['gone', 'polite']), undefined)
  },
)

t.test('Gateway: a start that fails leaves nothing open', async t => {
  const port = await takenPort(t)
  const config = configOf(t, `--http.port=${port}`, '--http.host=127.0.0.1')
  const { log } = logging()
  const gateway = new Gateway(config, log)
  await t.rejects(gateway.start(), { code: 'EADDRINUSE' })
  await openStore(t, config)
  t.doesNotThrow(() => gateway.reload())
})

t.test(
  'Gateway: ready from the start to the end; metrics are for the ops port unless they are public',
  async t => {
    const { log, events } = logging()
    const gateway = new Gateway(configOf(t), log)
    const { http, metrics } = await gateway.start()
    const get = async (port: number | undefined, path: string) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`)
      return { status: response.status, text: await response.text() }
    }
    t.match(await get(metrics?.port, '/readyz'), { status: 200 })
    gateway.reportUncaught(new Error('x'))
    t.ok(events().includes('process.failed'))
    t.match(await get(metrics?.port, '/metrics'), {
      status: 200,
      text: /mumi_faults_total\{where="process"\} 1/,
    })
    t.match(await get(http?.port, '/metrics'), { status: 404 })
    t.match(await get(http?.port, '/healthz'), { status: 200 })
    await Promise.all([gateway.close(), gateway.close()])
    await t.rejects(get(http?.port, '/healthz'))
  },
)
