/**
 * Sends hostile input over real sockets: JSON messages, WebSocket handshakes and frames, MQTT packets. After each batch the
 * server must live and an innocent pair must be able to talk. In the end memory must be back to its value after the warm-up.
 *
 * Exit code 0: no fault. 1: a fault was found. 2: the fuzzer itself failed.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { freePorts } from '../ports.js'
import { Random } from '../random.js'
import { ServerProcess } from '../server-process.js'
import { Fuzz } from './fuzz.js'
import { ServerMemory } from './memory.js'
import { report } from './report.js'
import { World } from './world.js'

const HELP = `Usage: npm run fuzz -- [options]
  --inputs N         how many (5000)
  --seed S           makes the same inputs again (a random one, printed)
  --first N          begins with input number N of that seed (0)
  --counted          this machine has the limits by address and of requests, too: most inputs are turned away
  --set KEY=VALUE    another config key; may be repeated
  --plant FAULT      plants a fault of plant.mjs, to see that it is found
  --keep             keeps the temporary folder (data, server.log)
`

const { values } = parseArgs({
  options: {
    inputs: { type: 'string', default: '5000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
    first: { type: 'string', default: '0' },
    counted: { type: 'boolean', default: false },
    set: { type: 'string', multiple: true, default: [] },
    plant: { type: 'string' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

const PLANT = new URL('plant.mjs', import.meta.url).href

const say = (text: string) => process.stderr.write(`${(performance.now() / 1000).toFixed(3)} ${text}\n`)

function amount(name: 'inputs' | 'first'): number {
  const value = Number(values[name])
  if (Number.isInteger(value) && value >= 0) return value
  throw new Error(`--${name} must be a whole number`)
}

/** The most permissive config, because refused input tests little; with short waits and lists. */
const settings = ([http, mqtt]: readonly number[]): Record<string, string> => ({
  'http.port': String(http),
  'mqtt.port': String(mqtt),
  'ops.port': '0',
  'mqtt.anonymous': 'true',
  'mqtt.acl': 'open',
  'passwords.cost': '4',
  'query.limit': '20',
  'sessions.multiple': 'allow',
  'limits.handshakeTimeout': '2s',
  'limits.controlFrames': '1000',
  'limits.exempt': values.counted ? '' : '127.0.0.1, ::1',
  'metrics.public': 'true',
  'mqtt.connectTimeout': '2s',
  ...Object.fromEntries(values.set.map(one => one.split(/=(.*)/s).slice(0, 2))),
})

async function fuzz(dir: string): Promise<number> {
  const { seed, plant, counted } = values
  const ports = await freePorts(2)
  const [http = 0, mqtt = 0] = ports
  say(`seed ${seed}, ${dir}`)
  const memory = new ServerMemory(join(dir, 'memory.json'))
  const server = new ServerProcess({
    dir,
    settings: settings(ports),
    execArgv: memory.execArgv,
    ...(plant !== undefined && { plant: { module: PLANT, fault: plant } }),
    onDied: how => {
      run.suspect(`the server died: ${how}`)
      run.stop()
    },
    onError: event => run.suspect(`logged as an error: ${event}`),
  })
  const world = new World({ http, mqtt }, counted)
  const options = { seed, inputs: amount('inputs'), first: amount('first'), say }
  const run = new Fuzz(server, memory, world, new Random(seed), options)
  await server.start()
  await run.run()
  await server.stop()
  if (server.unclean > 0 && server.died === 0) run.suspect('the server did not close cleanly')
  if (run.done === 0 && run.faultCount === 0) throw new Error('nothing was tried')
  process.stdout.write(report(seed, run))
  return run.faultCount > 0 ? 1 : 0
}

if (values.help) process.stdout.write(HELP)
else {
  const dir = mkdtempSync(join(tmpdir(), 'mumi-fuzz-'))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(2))
  process.once('exit', () => values.keep || rmSync(dir, { recursive: true, force: true }))
  try {
    process.exitCode = await fuzz(dir)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
    process.exitCode = 2
  }
  process.exit()
}
