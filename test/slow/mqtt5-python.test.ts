/**
 * Python clients at MQTT 5: Paho 2, and aiomqtt, on which Home Assistant builds. MUMI_TEST_PYTHON is a Python that has both
 * (`pip install 'paho-mqtt>=2' aiomqtt`); without it the tests are skipped.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { register, startGateway } from '../helpers/gateway.js'

const python = process.env.MUMI_TEST_PYTHON
const skip = python === undefined && 'MUMI_TEST_PYTHON is not set'

const gateway = await startGateway(t, { 'mqtt.acl': 'open' })

/** @returns what it said on stderr */
async function run(script: string): Promise<string> {
  const account = await register(t, gateway)
  const path = fileURLToPath(new URL(`../clients/${script}`, import.meta.url))
  const args = [path, `${gateway.mqttPort}`, account.email, account.password, account.id]
  const child = spawn(String(python), args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'close')])
  return code === 0 ? '' : `exit code ${code}: ${errors}`
}

t.test('Paho: properties, reason codes, sessions, the inbox', { skip }, async t => {
  t.equal(await run('paho_client.py'), '')
})

t.test('aiomqtt: a home that finds its devices', { skip }, async t => {
  t.equal(await run('aiomqtt_home.py'), '')
})
