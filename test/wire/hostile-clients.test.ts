/** Hundreds of clients that hold resources and send nothing useful. After each kind a healthy pair must be served. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import mqttPacket from 'mqtt-packet'
import t, { type Test } from 'tap'
import { type JsonClient, jsonClient, limited, loggedIn, register, startGateway } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'

const MANY = 300

const gateway = await startGateway(t, {
  'limits.handshakeTimeout': '1s',
  'mqtt.connectTimeout': '1s',
  'limits.loginTimeout': '1s',
  'heartbeat.timeout': '400ms',
  'delivery.stallTimeout': '1s',
  'sessions.multiple': 'allow',
})

const UPGRADE =
  'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n'

interface Pair {
  readonly ann: JsonClient
  readonly bob: JsonClient
}

async function openPair(t: Test, at = gateway): Promise<Pair> {
  return { ann: await loggedIn(t, at), bob: await loggedIn(t, at) }
}

/** Messages both ways. @returns the longest of them, ms */
async function talk({ ann, bob }: Pair): Promise<number> {
  let longest = 0
  for (const [from, to] of [
    [ann, bob],
    [bob, ann],
    [ann, bob],
  ] as const) {
    const begun = performance.now()
    await from.ask({ type: 'message', data: { recipient: to.userId, content: 'hello' } })
    await to.next()
    longest = Math.max(longest, performance.now() - begun)
  }
  return longest
}

async function sockets(t: Test, port: number, each: (socket: Socket) => void): Promise<Socket[]> {
  const all = Array.from({ length: MANY }, () => connect({ port, host: '127.0.0.1', allowHalfOpen: true }))
  t.teardown(() => all.forEach(socket => void socket.destroy()))
  await Promise.all(
    all.map(async socket => {
      socket.on('error', () => undefined)
      await once(socket, 'connect')
      each(socket)
    }),
  )
  return all
}

/** Resolves when the server has ended all of them; a reset, for bytes that it had not read, is an end as well. */
const allClosed = (all: readonly Socket[]) =>
  Promise.all(
    all.map(async socket => {
      socket.resume()
      if (socket.readableEnded || socket.closed) return
      await new Promise<void>(resolve => {
        socket.once('end', resolve).once('close', () => resolve())
      })
    }),
  )

/** Connections of a front end that the server has now. */
async function connections(front: string): Promise<number> {
  const text = await (await fetch(`${gateway.http}/metrics`)).text()
  return Number(new RegExp(`mumi_connections\\{front="${front}"\\} (\\d+)`).exec(text)?.[1])
}

async function isHealthy(t: Test, pair: Pair, at = gateway): Promise<void> {
  t.ok((await talk(pair)) < 1000, 'a pair talks')
  t.match(await (await jsonClient(t, at)).action('login'), { code: 10000 }, 'a new client gets in')
}

t.test('connections that send nothing, to either port, are closed in time', async t => {
  const pair = await openPair(t)
  const before = await limited(gateway, 'limits.handshakeTimeout')
  const http = await sockets(t, gateway.httpPort, () => undefined)
  const mqtt = await sockets(t, gateway.mqttPort, () => undefined)
  await talk(pair)
  await Promise.all([allClosed(http), allClosed(mqtt)])
  await isHealthy(t, pair)
  t.equal((await limited(gateway, 'limits.handshakeTimeout')) - before, MANY)
  t.ok((await limited(gateway, 'mqtt.connectTimeout')) >= MANY)
})

t.test('handshakes that arrive byte by byte are closed in time, too', async t => {
  const pair = await openPair(t)
  const http = await sockets(t, gateway.httpPort, socket => socket.write('GET / HT'))
  const mqtt = await sockets(t, gateway.mqttPort, socket => socket.write(Buffer.of(0x10)))
  const halves = [...http, ...mqtt]
  let isOver = false
  void allClosed(halves).then(() => {
    isOver = true
  })
  while (!isOver) {
    for (const socket of http) if (socket.writable) socket.write('X')
    for (const socket of mqtt) if (socket.writable) socket.write(Buffer.of(0x80))
    await turn()
    await talk(pair)
  }
  await isHealthy(t, pair)
})

t.test('requests that arrive byte by byte are answered, and delay no other client', async t => {
  // With the times of every day: on a busy machine all these bytes can take longer than the short ones above.
  const own = await startGateway(t, { 'sessions.multiple': 'allow' })
  const pair = await openPair(t, own)
  const body = Buffer.from('{"type":"action","action":"query","data":{"email":"a@b.example"}}')
  const frame = Buffer.concat([Buffer.of(0x81, 0x80 | body.length, 0, 0, 0, 0), body])
  const answers: Promise<void>[] = []
  const all = await sockets(t, own.httpPort, socket => {
    socket.setNoDelay().write(UPGRADE)
    let text = ''
    answers.push(
      new Promise(resolve => {
        socket.on('data', chunk => {
          text += chunk
          if (text.includes('"code":200')) resolve()
        })
      }),
    )
  })
  for (const byte of frame) {
    for (const socket of all) socket.write(Buffer.of(byte))
    await turn()
  }
  await Promise.all(answers)
  await isHealthy(t, pair, own)
})

t.test('half-open sockets: a client that ended its side is closed', async t => {
  const pair = await openPair(t)
  const plain = await sockets(t, gateway.httpPort, socket => socket.end())
  const upgraded = await sockets(t, gateway.httpPort, socket => socket.end(UPGRADE))
  const mqtt = await sockets(t, gateway.mqttPort, socket => socket.end())
  await Promise.all([plain, upgraded, mqtt].map(allClosed))
  await isHealthy(t, pair)
})

t.test('a client that never closes its side does not delay the shutdown', async t => {
  const own = await startGateway(t, { 'delivery.stallTimeout': '1h' })
  const port = own.mqttPort
  const account = await register(t, own)
  const logins = [account, { ...account, password: 'wrong' }]
  await Promise.all(
    logins.map(async account => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      t.teardown(() => socket.destroy())
      const login = { username: account.email, password: Buffer.from(account.password) }
      socket.write(mqttPacket.generate({ cmd: 'connect', clientId: 'half', clean: true, ...login }))
      await once(socket, 'data')
    }),
  )
  await own.close()
  t.pass('it has ended')
})

t.test('clients that disappear without a close leave no resources in use', async t => {
  const pair = await openPair(t)
  const all = await sockets(t, gateway.httpPort, socket => socket.write(UPGRADE))
  await Promise.all(all.map(socket => once(socket, 'data')))
  for (const socket of all) socket.resetAndDestroy()
  await isHealthy(t, pair)
  while ((await connections('json')) > 10) await turn()
  t.pass('all are gone')
})

t.test('clients that never read cost no more than their window, and owing pongs they are closed', async t => {
  const pair = await openPair(t)
  const [json, mqtt] = [await register(t, gateway), await register(t, gateway)]
  for (let i = 0; i < 50; i++) {
    const reader = await loggedIn(t, gateway, json, { device: `${i}` })
    reader.ws.pause()
    const device = await rawConnect(t, gateway, { account: mqtt, clientId: `${i}` })
    t.equal(device.connack.returnCode, 0)
    await device.subscribe(`users/${mqtt.id}/inbox/#`)
    device.socket.pause()
  }
  const before = process.memoryUsage().rss
  const content = 'x'.repeat(60_000)
  for (let i = 0; i < 100; i++) {
    for (const { id } of [json, mqtt]) {
      pair.ann.send({ type: 'message', data: { recipient: id, content } })
      t.match(await pair.ann.next(), { code: 201 })
    }
  }
  const grown = (process.memoryUsage().rss - before) >> 20
  t.ok(grown < 400, `${grown} MiB for the 600 that nobody reads`)
  while ((await connections('json')) > 10) await talk(pair)
  t.equal(await connections('mqtt'), 50, 'a PUBACK may come as late as it likes')
  await isHealthy(t, pair)
})
