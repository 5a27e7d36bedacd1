import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { dataDir, JsonClient, mqttClient, type RunningGateway, startGateway } from '../helpers/gateway.js'

const pem = (name: string) => fileURLToPath(new URL(`../helpers/tls/${name}.pem`, import.meta.url))
const ca = ['old', 'new'].map(name => readFileSync(pem(`${name}.cert`)))

/** Its certificate is `old`, in a folder of its own so that it can be changed. */
async function startSecure(t: Test, settings: Record<string, unknown> = {}) {
  const dir = dataDir(t)
  const cert = join(dir, 'cert.pem')
  const key = join(dir, 'key.pem')
  const use = (name: string) => {
    copyFileSync(pem(`${name}.key`), key)
    copyFileSync(pem(`${name}.cert`), cert)
  }
  use('old')
  const gateway = await startGateway(t, {
    'tls.cert': cert,
    'tls.key': key,
    'tls.watch': '0',
    ...settings,
  })
  return { ...gateway, use, cert }
}

async function secureClient(t: Test, { httpPort }: { httpPort: number }): Promise<JsonClient> {
  const ws = new WebSocket(`wss://127.0.0.1:${httpPort}/`, { ca })
  const client = new JsonClient(ws)
  t.teardown(() => ws.terminate())
  await client.nextText()
  return client
}

/** The name in the certificate that a new connection gets. */
async function certificateOf(t: Test, port: number, options: object = {}): Promise<string> {
  const socket: TLSSocket = connect({ port, host: '127.0.0.1', ca, ...options })
  t.teardown(() => socket.destroy())
  await once(socket, 'secureConnect')
  const { CN } = socket.getPeerCertificate().subject
  socket.destroy()
  return String(CN)
}

async function registered(client: JsonClient): Promise<{ email: string; password: string }> {
  const account = { email: 'ann@example.com', password: 'correct horse' }
  await client.action('register', { ...account, firstName: 'a', lastName: 'b' })
  return account
}

t.test('JSON, MQTT and MQTT over WebSocket speak TLS with the certificate of the config', async t => {
  const gateway = await startSecure(t)
  const json = await secureClient(t, gateway)
  const account = await registered(json)
  t.match(await json.action('login', account), { code: 202 })
  const login = { username: account.email, password: account.password, ca: ca as Buffer[] }
  for (const url of [`mqtts://127.0.0.1:${gateway.mqttsPort}`, `wss://127.0.0.1:${gateway.httpPort}/mqtt`]) {
    const device = await mqttClient(t, gateway, { url, ...login })
    await device.mqtt.endAsync()
  }
  const page = await new Promise<string>((resolve, reject) => {
    const socket = connect({ port: gateway.httpPort, host: '127.0.0.1', ca }, () =>
      socket.write('GET /test HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    )
    let text = ''
    socket
      .on('data', chunk => (text += chunk))
      .on('end', () => resolve(text))
      .on('error', reject)
  })
  t.match(page, /^HTTP\/1\.1 200 .*\{"message":"test"\}$/s)
})

t.test('without TLS a port for it answers nobody, and the plain MQTT port goes on', async t => {
  const gateway = await startSecure(t)
  const socket = connectTcp(gateway.httpPort, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write('GET /test HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(socket, 'close')
  t.match(
    gateway.logs.find(({ event }) => event === 'tls.failed'),
    { code: 'ERR_SSL_HTTP_REQUEST', remoteAddress: '127.0.0.1' },
  )
  const json = await secureClient(t, gateway)
  const { email, password } = await registered(json)
  await mqttClient(t, gateway, { username: email, password })
})

t.test('old versions and weak ciphers are refused', async t => {
  const gateway = await startSecure(t, { 'tls.minVersion': 'TLSv1.3' })
  t.equal(await certificateOf(t, gateway.httpPort), 'localhost-old')
  await t.rejects(certificateOf(t, gateway.httpPort, { maxVersion: 'TLSv1.2' }))
  const other = await startSecure(t)
  t.equal(await certificateOf(t, other.mqttsPort, { maxVersion: 'TLSv1.2' }), 'localhost-old')
  const weak = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' }
  await t.rejects(certificateOf(t, other.mqttsPort, weak))
  const oldest = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }
  await t.rejects(certificateOf(t, other.httpPort, oldest))
})

t.test('a new certificate is for new connections, and no connection is dropped for it', async t => {
  const gateway = await startSecure(t)
  const json = await secureClient(t, gateway)
  const { email, password } = await registered(json)
  const url = `mqtts://127.0.0.1:${gateway.mqttsPort}`
  const device = await mqttClient(t, gateway, { url, username: email, password, ca: ca as Buffer[] })
  gateway.use('new')
  gateway.gateway.reload()
  t.equal(await certificateOf(t, gateway.httpPort), 'localhost-new')
  t.equal(await certificateOf(t, gateway.mqttsPort), 'localhost-new')
  t.match(await json.action('query', { email }), { code: 200 })
  await device.mqtt.subscribeAsync('users/+/presence')
})

t.test('changed files are loaded, and an invalid one leaves the old certificate', async t => {
  const gateway = await startSecure(t, { 'tls.watch': '20ms' })
  gateway.use('new')
  while ((await certificateOf(t, gateway.httpPort)) !== 'localhost-new') t.pass('not yet')
  copyFileSync(pem('old.key'), String(gateway.logs.find(({ event }) => event === 'tls.reloaded')?.cert))
  const isReported = () => gateway.logs.some(({ event }) => event === 'tls.reload-failed')
  while (!isReported()) t.equal(await certificateOf(t, gateway.httpPort), 'localhost-new')
  t.equal(await certificateOf(t, gateway.mqttsPort), 'localhost-new')
})

t.test('a certificate that is a FIFO now is not waited for', async t => {
  const gateway = await startSecure(t)
  rmSync(gateway.cert)
  execFileSync('mkfifo', [gateway.cert])
  gateway.gateway.reload()
  const failed = gateway.logs.find(({ event }) => event === 'tls.reload-failed')
  t.match(failed, { err: { message: `${gateway.cert} is not a regular file` } })
  t.equal(await certificateOf(t, gateway.httpPort), 'localhost-old')
})

t.test('an unusable certificate or key stops the start, with the config keys in the message', async t => {
  for (const [cert, key, fault] of [
    ['/does/not/exist', pem('old.key'), /^tls\.cert: cannot be read/],
    [pem('old.cert'), '/does/not/exist', /^tls\.key: cannot be read/],
    [pem('old.cert'), pem('new.key'), /^tls\.cert, tls\.key, tls\.ciphers: .*mismatch/],
    [pem('old.cert'), pem('old.cert'), /^tls\.cert, tls\.key, tls\.ciphers: /],
  ] as const) {
    await t.rejects(startGateway(t, { 'tls.cert': cert, 'tls.key': key }), { message: fault })
  }
})

t.test('a TLS handshake that does not end is cut off, and is no connection any more', async t => {
  const gateway = await startSecure(t, { 'limits.handshakeTimeout': '100ms', 'limits.exempt': '' })
  const ports = [gateway.httpPort, gateway.mqttsPort]
  await Promise.all(
    ports.map(async port => {
      const socket = connectTcp(port, '127.0.0.1')
      socket.on('error', () => undefined)
      // The head of a record of which nothing follows (RFC 8446 5.1).
      socket.write(Buffer.of(22, 3, 1, 2, 0, 1))
      await once(socket, 'close')
    }),
  )
  const codes = gateway.logs.filter(({ event }) => event === 'tls.failed').map(({ code }) => code)
  t.same(codes, ['ERR_TLS_HANDSHAKE_TIMEOUT', 'ERR_TLS_HANDSHAKE_TIMEOUT'])
})

t.test('over TLS, too, an address has so many connections, and the next comes when one has gone', async t => {
  const gateway = await startSecure(t, { 'limits.connectionsPerAddress': 1, 'limits.exempt': '' })
  const first = await secureClient(t, gateway)
  await t.rejects(certificateOf(t, gateway.mqttsPort))
  await first.close()
  const comes = () => certificateOf(t, gateway.mqttsPort).catch(() => undefined)
  let name: string | undefined
  while (name === undefined) name = await comes()
  t.equal(name, 'localhost-old')
})

t.test('a server that shuts down tells its clients over TLS, too', async t => {
  const gateway = await startSecure(t)
  const client = await secureClient(t, gateway)
  await gateway.close()
  t.same(await client.closed, [1001, 'SHUTDOWN'])
})

/** @returns events of level warn */
async function warnings(t: Test, settings: Record<string, unknown>): Promise<unknown[]> {
  const { logs, close }: RunningGateway = await startGateway(t, settings)
  await close()
  // Without a name for the public, links have no host.
  const isWarning = ({ level, event }: Record<string, unknown>) =>
    level === 'warn' && event !== 'files.no-links'
  return logs.filter(isWarning).map(({ event, host }) => [event, host])
}

t.test('a port that is open without TLS is warned of at the start', async t => {
  const tls = { 'tls.cert': pem('old.cert'), 'tls.key': pem('old.key') }
  const all = '0.0.0.0'
  t.same(await warnings(t, {}), [])
  t.same(await warnings(t, { 'http.host': all }), [['tls.off', all]])
  t.same(await warnings(t, { 'http.host': all, 'mqtts.host': all, ...tls }), [])
  t.same(await warnings(t, { 'http.host': all, 'mqtt.host': all, ...tls }), [['tls.off', all]])
  t.same(await warnings(t, { 'http.host': all, 'http.tls': false, ...tls }), [['tls.off', all]])
  t.same(await warnings(t, { 'http.host': 'localhost' }), [])
})
