/**
 * Clients of other languages at MQTT 5: Paho for Python, aiomqtt, on which Home Assistant builds, and Paho for Go.
 * MUMI_TEST_PYTHON is a Python that has the first two (`pip install 'paho-mqtt>=2' aiomqtt`), MUMI_TEST_GO_CLIENT the program
 * that `go build` makes of test/clients/go; without them their tests are skipped.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type RunningGateway, register, startGateway, type TestAccount } from '../helpers/gateway.js'

const { MUMI_TEST_PYTHON: python, MUMI_TEST_GO_CLIENT: go } = process.env
const skipPython = python === undefined && 'MUMI_TEST_PYTHON is not set'
const skipGo = go === undefined && 'MUMI_TEST_GO_CLIENT is not set'
t.setTimeout(120_000)

const script = (name: string): string => fileURLToPath(new URL(`../clients/${name}`, import.meta.url))

interface Run {
  /** The program and its first arguments. */
  readonly command: readonly [string, ...string[]]
  readonly gateway: RunningGateway
  readonly account: TestAccount
  readonly last?: readonly string[]
}

/** @returns what it said on stderr */
async function run({ command: [program, ...first], gateway, account, last = [] }: Run): Promise<string> {
  const args = [...first, `${gateway.mqttPort}`, account.email, account.password, account.id, ...last]
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'close')])
  return code === 0 ? '' : `exit code ${code}: ${errors}`
}

t.test('Paho for Python: properties, reason codes, sessions, the inbox', { skip: skipPython }, async t => {
  const gateway = await startGateway(t, { 'mqtt.acl': 'open' })
  const account = await register(t, gateway)
  t.equal(await run({ command: [`${python}`, script('paho_client.py')], gateway, account }), '')
})

t.test(
  'aiomqtt: a home that finds its devices, also when home and server have been started again',
  { skip: skipPython },
  async t => {
    const before = await startGateway(t, { 'mqtt.acl': 'open' })
    const account = await register(t, before)
    const command = [`${python}`, script('aiomqtt_home.py')] as const
    t.equal(await run({ command, gateway: before, account }), '')
    await before.close()
    const gateway = await startGateway(t, { 'mqtt.acl': 'open', 'data.dir': before.dir })
    t.equal(await run({ command, gateway, account, last: ['found'] }), '')
  },
)

t.test(
  'Paho for Go: properties, reason codes, its own reconnection, the inbox',
  { skip: skipGo },
  async t => {
    const gateway = await startGateway(t, { 'mqtt.acl': 'open' })
    const account = await register(t, gateway)
    t.equal(await run({ command: [`${go}`], gateway, account }), '')
  },
)
