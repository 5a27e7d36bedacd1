/**
 * What docs/mqtt-guide.md marks as tested, as it is printed there, on the running program: over TCP, and over TLS with the
 * CA that the guide makes. What PubSubClient sends is here byte by byte, since no test compiles a sketch.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { loggedIn, register, type TestAccount } from '../helpers/gateway.js'
import { plain } from '../helpers/plain-node.js'
import { startProgram } from '../helpers/program.js'
import { rawSocket } from '../helpers/raw-mqtt.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const GUIDE = readFileSync(join(ROOT, 'docs/mqtt-guide.md'), 'utf8')
const { MUMI_TEST_PYTHON: python, MUMI_TEST_GO_CLIENT: go } = process.env
const has = (command: string, ...args: string[]) => spawnSync(command, args).error === undefined
const skipMosquitto = !has('mosquitto_rr', '--help') && 'NOT TESTED: no mosquitto-clients'
/** The guide has the API of today, which Go 1.19 of Debian 12 does not build: test/clients/go is for that. */
const [, minorOfGo = '0'] = /go1\.(\d+)/.exec(`${spawnSync('go', ['version']).stdout}`) ?? []
const skipGo =
  go === undefined ? 'MUMI_TEST_GO_CLIENT is not set' : Number(minorOfGo) < 21 && 'NOT TESTED: no Go 1.21'

t.setTimeout(240_000)

/** The one block of the guide in this language that has this. */
function block(language: string, part: string): string {
  const blocks = GUIDE.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)
  const found = [...blocks].filter(([, name, body = '']) => name === language && body.includes(part))
  if (found.length !== 1) throw new Error(`${part} is not in one ${language} block of the guide`)
  return found[0]?.[2] ?? ''
}

const dir = mkdtempSync(join(tmpdir(), 'mumi-guide-'))
t.teardown(() => rmSync(dir, { recursive: true, force: true }))

const inFolder = { cwd: dir, env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '' } }
const certificate = block('sh', 'ca.key').replace('IP:192.168.1.10', 'IP:127.0.0.1')
const made = spawnSync('sh', ['-ec', certificate], inFolder)
if (made.status !== 0) throw new Error(`the guide's certificate: ${made.stderr}`)
writeFileSync(join(dir, 'acl.json5'), block('json5', 'homeassistant'))

const program = await startProgram(t, {
  config: join(dir, 'acl.json5'),
  'tls.cert': join(dir, 'chat.pem'),
  'tls.key': join(dir, 'chat.key'),
  'http.tls': 'false',
})
const ann = await register(t, program, 'ann@example.com')
const bob = await register(t, program, 'bob@example.com')

/** A program whose output is looked at while it runs; the test ends it. */
function start(t: Test, command: readonly string[], env: Record<string, string> = {}) {
  const [file, args] = plain(command)
  const options = { ...inFolder, env: { ...inFolder.env, ...env }, detached: true } as const
  const child: ChildProcess = spawn(file, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  const output = new EventEmitter()
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', data => {
      printed += data
      output.emit('data')
    })
  const ended = once(child, 'close')
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) kill()
    await ended
  })
  const shows = async (words: string) => {
    while (!printed.includes(words)) {
      const gone = ended.then(() => Promise.reject(new Error(`ended without ${words}: ${printed}`)))
      await Promise.race([once(output, 'data'), gone])
    }
  }
  const kill = () => process.kill(-(child.pid ?? 0), 'SIGKILL')
  return { shows, ended, kill, printed: () => printed }
}

/** Blocks of a shell on this program and these accounts. */
function shell(script: string): string[] {
  const tools = ['sub', 'pub', 'rr'].map(
    tool => `mosquitto_${tool}() { command mosquitto_${tool} -p ${program.mqttPort} "$@"; }\n`,
  )
  const words = script.replaceAll('-P secret', `-P '${ann.password}'`).replaceAll('npx mumi', 'mumi')
  const mumi = `mumi() { '${process.execPath}' '${join(ROOT, 'dist/main.js')}' "$@"; }\n`
  return ['sh', '-c', `export CHAT_URL=ws://127.0.0.1:${program.httpPort}\n${mumi}${tools.join('')}${words}`]
}

t.test(
  'a credential is minted by the guide’s command and logs in, with its client id only',
  { skip: skipMosquitto },
  async t => {
    const minting = start(t, shell(block('sh', '"mint"')))
    await minting.ended
    const { code, data } = JSON.parse(minting.printed())
    t.equal(code, 200)
    t.equal(
      data.password.length,
      Number(/`password` \((\d+) characters/.exec(GUIDE)?.[1]),
      'as long as the guide says',
    )
    for (const [clientId, code] of [
      ['kitchen', 0],
      ['attic', 4],
    ] as const) {
      const client = await rawSocket(t, program)
      client.send({
        cmd: 'connect',
        clientId,
        clean: true,
        keepalive: 0,
        username: ann.id,
        password: data.password,
      })
      t.equal((await client.take('connack')).returnCode, code, clientId)
      await client.drop()
    }
  },
)

t.test('mosquitto: a state that is kept and a will', { skip: skipMosquitto }, async t => {
  const [, publish = '', subscribe = ''] =
    /^(mosquitto_pub[^\n]*\n)([\s\S]*)$/.exec(block('sh', 'home/#')) ?? []
  const said = start(t, shell(publish))
  t.same(await said.ended, [0, null], said.printed())
  const panel = start(t, shell(subscribe))
  await panel.shows('home/kitchen/temperature 21.5')
  const discovery = start(t, shell(block('sh', 'unique_id')))
  t.same(await discovery.ended, [0, null], discovery.printed())
  const reader = start(t, [
    ...['mosquitto_sub', '-p', `${program.mqttPort}`, '-u', bob.email, '-P', bob.password],
    ...['-t', 'homeassistant/+/+/config', '-t', 'home/panel/status', '-C', '2', '-F', '%r %t %p'],
  ])
  await reader.shows('1 homeassistant/sensor/kitchen_temperature/config {')
  panel.kill()
  await reader.shows('0 home/panel/status lost')
})

interface Example {
  readonly name: string
  readonly skip: string | false
  /** The program in the folder `where`, up to its arguments. */
  prepare(where: string): readonly string[]
}

const EXAMPLES: readonly Example[] = [
  {
    name: 'MQTT.js',
    skip: false,
    prepare: where => {
      symlinkSync(join(ROOT, 'node_modules'), join(where, 'node_modules'))
      writeFileSync(join(where, 'chat.mjs'), block('js', 'mqtt'))
      return [process.execPath, join(where, 'chat.mjs')]
    },
  },
  {
    name: 'Python',
    skip: python === undefined && 'MUMI_TEST_PYTHON is not set',
    prepare: where => {
      writeFileSync(join(where, 'chat.py'), block('python', 'paho'))
      return [`${python}`, join(where, 'chat.py')]
    },
  },
  {
    name: 'Go',
    skip: skipGo,
    prepare: where => {
      for (const file of ['go.mod', 'go.sum'])
        copyFileSync(join(ROOT, 'test/clients/go-guide', file), join(where, file))
      writeFileSync(join(where, 'main.go'), block('go', 'autopaho'))
      const built = spawnSync('go', ['build', '-o', 'chat', '.'], { ...inFolder, cwd: where })
      if (built.status !== 0) throw new Error(`go build: ${built.stderr}`)
      return [join(where, 'chat')]
    },
  },
]

for (const { name, skip, prepare } of EXAMPLES) {
  t.test(`${name}: what waits comes, what is sent is stored, over TCP and TLS`, { skip }, async t => {
    const where = join(dir, name)
    mkdirSync(where)
    const command = prepare(where)
    const certificates = { NODE_EXTRA_CA_CERTS: join(dir, 'ca.pem'), SSL_CERT_FILE: join(dir, 'ca.pem') }
    const [me, to] = [await register(t, program), await loggedIn(t, program)]
    const write = async (content: string) =>
      t.match(await to.ask({ type: 'message', data: { recipient: me.id, content } }), { code: 201 })
    const run = (t: Test, url: string, account: TestAccount, recipient: string) =>
      start(t, [...command, account.id, account.password, recipient], { MQTT_URL: url, ...certificates })

    for (const url of [`mqtt://127.0.0.1:${program.mqttPort}`, `mqtts://127.0.0.1:${program.mqttsPort}`])
      await t.test(url.replace(/:\d+/, ''), async t => {
        const one = run(t, url, me, to.userId)
        await one.shows('stored')
        t.match(await to.next(), { sender: me.id, content: `hello from ${name}` })
        await write(`by ${url}`)
        await one.shows(`from ${to.userId}: by ${url}`)
      })
    await write('while it was away')
    const again = run(t, `mqtt://127.0.0.1:${program.mqttPort}`, me, '999999999')
    await again.shows(`from ${to.userId}: while it was away`)
    await again.shows('refused')
  })
}

/** A string with its length (MQTT 3.1.1, 1.5.3). */
const string = (words: string) =>
  Buffer.concat([Buffer.from([words.length >> 8, words.length & 255]), Buffer.from(words)])

/** A packet of at most 127 bytes, as PubSubClient 2.8 writes it. */
const packet = (first: number, ...parts: Buffer[]) => {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([first, body.length]), body])
}

t.test('PubSubClient: CONNECT with will and kept session, SUBSCRIBE at QoS 1, PUBLISH at QoS 0', async t => {
  const [me, other] = [await register(t, program), await loggedIn(t, program)]
  const level = Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 0b11101100, 0, 60])
  const will = [string('home/board/status'), string('offline')]
  const connect = packet(0x10, level, string('board'), ...will, string(me.id), string(me.password))
  const subscribe = packet(
    0x82,
    Buffer.from([0, 2]),
    string(`users/${me.id}/inbox/+/content`),
    Buffer.from([1]),
  )
  const board = await rawSocket(t, program)
  board.send(connect)
  t.match(await board.take('connack'), { returnCode: 0, sessionPresent: false })
  board.send(subscribe)
  t.match(await board.take('suback'), { granted: [1] })
  board.send(packet(0x31, string('home/board/status'), Buffer.from('online')))
  board.send(packet(0x30, string(`users/${other.userId}/inbox`), Buffer.from('the board is there')))
  t.match(await other.next(), { sender: me.id, content: 'the board is there' })
  board.send(Buffer.from([0xc0, 0]))
  await board.take('pingresp')
  await board.drop()
  t.match(await other.ask({ type: 'message', data: { recipient: me.id, content: 'meanwhile' } }), {
    code: 201,
  })

  // A message that the buffer has no room for is not confirmed, and comes again with what is behind it.
  for (const isConfirmed of [false, true]) {
    const again = await rawSocket(t, program)
    again.send(connect)
    t.match(await again.take('connack'), { returnCode: 0, sessionPresent: true })
    const { messageId, payload, qos } = await again.take('publish')
    t.match({ payload: `${payload}`, qos }, { payload: 'meanwhile', qos: 1 })
    if (isConfirmed) again.send(Buffer.from([0x40, 2, messageId >> 8, messageId & 255]))
    again.send(Buffer.from([0xe0, 0]))
    await again.closed
  }
  const last = await rawSocket(t, program)
  last.send(connect)
  await last.take('connack')
  last.send(Buffer.from([0xc0, 0]))
  await last.take('pingresp')
})

t.test('the codes by which a login is refused', async t => {
  for (const [version, wrong, noWill] of [
    [4, 4, 5],
    [5, 0x86, 0x87],
  ] as const) {
    const connack = async (password: string, topic: string) => {
      const client = await rawSocket(t, program, version)
      const will = { topic, payload: Buffer.from('x'), qos: 0, retain: false } as const
      client.send({
        ...{ cmd: 'connect', protocolVersion: version, clientId: 'x', clean: true, keepalive: 0, will },
        ...{ username: ann.id, password: Buffer.from(password) },
      })
      const { returnCode, reasonCode } = await client.take('connack')
      await client.drop()
      return version === 5 ? reasonCode : returnCode
    }
    t.equal(await connack('wrong', 'home/x'), wrong)
    t.equal(await connack(ann.password, 'closed/x'), noWill)
    t.equal(await connack(ann.password, 'home/x'), 0)
  }
})
