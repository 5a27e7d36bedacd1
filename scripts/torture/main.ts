/**
 * Tests the gateway's promise: a message with 201, PUBACK or PUBREC reaches every device of its recipient at least once and
 * in order, whatever is killed, slow or disconnected.
 *
 * Exit code 0: kept. 1: broken (lost, reordered or missing messages, a crashed server). 2: the torture itself failed.
 */
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { mongoPlace, mongoSettings } from '../mongodb.js'
import { freePorts } from '../ports.js'
import { Random } from '../random.js'
import { ServerProcess, StartError } from '../server-process.js'
import { check } from './check.js'
import { Crowd } from './crowd.js'
import { Ledger } from './ledger.js'
import { isBroken, report, summarize } from './report.js'
import { Restarts } from './restarts.js'
import { WILL_ACL, Wills } from './wills.js'
import { World } from './world.js'

const HELP = `Usage: npm run torture -- [options]
  --minutes N            how long there are messages and mishaps (2)
  --seed S               makes the same decisions again (a random one, printed)
  --kills-per-minute K   kill -9 so often; SIGTERM a third as often (8)
  --restarts graceful    no kill -9: SIGTERM as often, at which clients are sent away over a second, and SIGHUP in between;
                         also fails if a message comes twice on one connection
  --clock H,H,...        the clock is so many hours off at each start, in turn (random hours at half of the starts)
  --users N              accounts (12)
  --rate N               messages a second, all senders together (1500)
  --store TYPE           embedded (default), or mongodb on the server that MUMI_TEST_MONGODB_URL names
  --set KEY=VALUE        another config key; may be repeated
  --plant FAULT          plants a fault of plant.mjs, to see that it is found
  --keep                 keeps the temporary folder (data, server.log, clients.log), and the database on MongoDB
`

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
    'kills-per-minute': { type: 'string', default: '8' },
    restarts: { type: 'string', default: 'killed' },
    clock: { type: 'string' },
    users: { type: 'string', default: '12' },
    rate: { type: 'string', default: '1500' },
    store: { type: 'string', default: 'embedded' },
    set: { type: 'string', multiple: true, default: [] },
    plant: { type: 'string' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

if (!['killed', 'graceful'].includes(values.restarts)) throw new Error('--restarts must be graceful')
const isGraceful = values.restarts === 'graceful'

const PLANT = new URL('plant.mjs', import.meta.url).href

const mongo = values.store === 'mongodb' ? mongoPlace('torture') : undefined

/** Seconds since the start of this program, as in all its output. */
const now = () => (performance.now() / 1000).toFixed(3)
const say = (text: string) => process.stderr.write(`${now()} ${text}\n`)

function amount(name: 'minutes' | 'kills-per-minute' | 'users' | 'rate'): number {
  const value = Number(values[name])
  if (Number.isFinite(value) && value >= 0) return value
  throw new Error(`--${name} must be a number`)
}

function clockHours(): number[] {
  const hours = values.clock === undefined ? [] : values.clock.split(',').map(Number)
  if (hours.every(Number.isFinite)) return hours
  throw new Error('--clock must be numbers with commas between them')
}

/** Descriptors of the server: enough for itself and all devices, but a crowd soon uses them up. */
const filesFor = (users: number) => 200 + 15 * users
const CROWD_BEYOND = 50

/** Short waits on all seeds. Small windows and buffers on some, so that devices are mostly catching up. */
function settings(random: Random, [http, mqtt]: readonly number[]): Record<string, string> {
  const given = values.set.map(one => one.split(/=(.*)/s).slice(0, 2))
  return {
    'http.port': String(http),
    'mqtt.port': String(mqtt),
    'ops.port': '0',
    ...(mongo === undefined ? { 'store.type': values.store } : mongoSettings(mongo)),
    'passwords.cost': '4',
    'log.level': 'info',
    'sessions.multiple': 'allow',
    // Longer than the clock jumps, like `mqtt.sessionExpiry` and `devices.expiry`.
    'dedup.window': '3d',
    'mqtt.acl': WILL_ACL,
    'heartbeat.interval': '3s',
    'heartbeat.timeout': '3s',
    'delivery.stallTimeout': '5s',
    ...(isGraceful && { 'shutdown.spread': '1s' }),
    'delivery.windowMessages': random.pick(['20', '100', '1000']),
    'delivery.maxBufferedBytes': random.pick(['8KiB', '64KiB', '1MiB']),
    'mqtt.maxInflight': random.pick(['5', '20', '100']),
    'mqtt.maxBufferedBytes': random.pick(['8KiB', '64KiB', '1MiB']),
    ...Object.fromEntries(given),
  }
}

interface Run {
  readonly server: ServerProcess
  readonly ledger: Ledger
  readonly world: World
  readonly wills: Wills
  readonly crowd: Crowd
  readonly restarts: Restarts
}

async function build(dir: string): Promise<Run> {
  const random = new Random(values.seed)
  const ports = await freePorts(2)
  const [http = 0, mqtt = 0] = ports
  const config = settings(random.fork('settings'), ports)
  say(`seed ${values.seed}, ${dir}, ${JSON.stringify({ ...config, 'store.mongodb.url': undefined })}`)
  const users = amount('users')
  const files = filesFor(users)
  const server = new ServerProcess({
    dir,
    settings: config,
    files,
    ...(values.plant !== undefined && { plant: { module: PLANT, fault: values.plant } }),
    onDied: how => say(`the server died: ${how}`),
  })
  const ledger = new Ledger()
  const log = createWriteStream(join(dir, 'clients.log'))
  const trace = (text: string) => log.write(`${now()} ${text}\n`)
  const world = new World(ledger, random.fork('world'), {
    users,
    rate: amount('rate'),
    ports: { http, mqtt },
    trace,
  })
  const wills = new Wills({ ports: { http, mqtt }, random: random.fork('wills'), trace })
  const crowd = new Crowd(server, {
    size: files + CROWD_BEYOND,
    ports: { http, mqtt },
    random: random.fork('crowd'),
    say,
  })
  const killsPerMinute = amount('kills-per-minute')
  const restarts = new Restarts(server, {
    killsPerMinute,
    isGraceful,
    clockHours: clockHours(),
    random: random.fork('restarts'),
    watcher: wills,
    say,
  })
  return { server, ledger, world, wills, crowd, restarts }
}

/** @throws StartError if the server does not start again */
async function live({ server, world, wills, crowd, restarts }: Run): Promise<void> {
  const stop = () => {
    restarts.stop()
    crowd.stop()
  }
  await Promise.all([restarts.run(), crowd.run(), world.live(amount('minutes') * 60_000).finally(stop)])
  say('no more messages; everyone comes back')
  wills.retire()
  await restarts.restart(!isGraceful)
  await Promise.all([world.drain(say), wills.settle()])
  await server.stop()
  wills.end()
  await world.end()
}

async function torture(dir: string): Promise<number> {
  const run = await build(dir)
  const { server, ledger, world, wills } = run
  await server.start()
  await Promise.all([world.populate(), wills.populate()])
  say(`${world.clients.length} devices are in`)
  try {
    await live(run)
  } catch (error) {
    if (!(error instanceof StartError)) throw error
    // It ran before, so what it acknowledged can no longer be delivered.
    say(error.message)
    return 1
  }
  const findings = check(ledger)
  if (findings.acknowledged === 0) throw new Error('nothing was acknowledged, so nothing was tried')
  const summary = summarize(values.seed, { ...run, findings, isGraceful })
  process.stdout.write(report(summary))
  return isBroken(summary) ? 1 : 0
}

if (values.help) process.stdout.write(HELP)
else {
  const dir = mkdtempSync(join(tmpdir(), 'mumi-torture-'))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(2))
  process.once('exit', () => values.keep || rmSync(dir, { recursive: true, force: true }))
  try {
    process.exitCode = await torture(dir)
    if (!values.keep) await mongo?.drop()
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
    process.exitCode = 2
  }
  process.exit()
}
