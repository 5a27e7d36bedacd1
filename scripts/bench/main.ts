/** `npm run bench`: runs the program and its peers in turn on one core, the generator on another (docs/performance.md). */
import { appendFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { broadcast } from './broadcast.js'
import { frozen } from './frozen.js'
import { grow } from './grow.js'
import { idle } from './idle.js'
import { login } from './login.js'
import { describeMachine, pinGenerator, useServerCores } from './machine.js'
import { offline } from './offline.js'
import { offload } from './offload.js'
import { pairs } from './pairs.js'
import { gateway, PEERS, type Peer } from './peers.js'
import { presence } from './presence.js'
import { Program, withFolder } from './program.js'
import { below, markdown, type Result } from './report.js'
import type { Options, Scenario } from './scenario.js'
import { start } from './start.js'
import { tokens } from './tokens.js'

const SCENARIOS: readonly Scenario[] = [
  pairs,
  idle,
  offline,
  login,
  tokens,
  frozen,
  broadcast,
  presence,
  grow,
  start,
  offload,
]
const BUILT = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

const HELP = `npm run bench -- [options]

  --scenario ${SCENARIOS.map(({ name }) => name).join('|')}   which, comma-separated; default pairs
  --wire json,mqtt,json-mqtt   only these
  --peers mumi,${PEERS.map(({ name }) => name).join(',')}   only these
  --store mongodb    the program a second time, on the MongoDB server that MUMI_TEST_MONGODB_URL names
  --rounds 3         of all peers in turn
  --seconds 10       of each measurement
  --json FILE        also one JSON line a result
  --program FILE     another build's dist/main.js
  --cores 0          for the server, as taskset takes them; the generator has core 1
  --floor PEER=N     fail when program ÷ peer is lower (median, by clock and by CPU); comma-separated
  --exempt           requests from this machine are not counted, as shipped; also for builds without limits
  --messages 20000   offline: waiting for 100 users together
  --logins 1000      login, tokens: at once
  --max-messages N   grow: the last step; default 1,000,000
  --big              also what takes many minutes: a million messages waiting for one user
`

const { values: args } = parseArgs({
  options: {
    scenario: { type: 'string', default: 'pairs' },
    wire: { type: 'string', default: 'json,mqtt,json-mqtt' },
    peers: { type: 'string', default: ['mumi', ...PEERS.map(({ name }) => name)].join() },
    store: { type: 'string', default: 'embedded' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '10' },
    json: { type: 'string' },
    program: { type: 'string', default: BUILT },
    exempt: { type: 'boolean', default: false },
    cores: { type: 'string', default: '0' },
    floor: { type: 'string', default: '' },
    messages: { type: 'string', default: '20000' },
    logins: { type: 'string', default: '1000' },
    'max-messages': { type: 'string', default: '1000000' },
    big: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

const options: Options = {
  seconds: Number(args.seconds),
  big: args.big,
  messages: Number(args.messages),
  logins: Number(args.logins),
  maxMessages: Number(args['max-messages']),
}
const program = new Program(args.program, 'embedded', !args.exempt)
const onMongo = new Program(args.program, 'mongodb', !args.exempt)
const rounds = Number(args.rounds)

const say = (line: string) => process.stderr.write(`${line}\n`)

function chosenPeers(): Peer[] {
  const names = args.peers.split(',')
  const mongo = args.store === 'mongodb' ? [gateway(onMongo, 'mumi-mongodb')] : []
  const chosen = [...[gateway(program), ...PEERS].filter(({ name }) => names.includes(name)), ...mongo]
  for (const { name, missing } of chosen) if (missing !== undefined) say(`SKIPPED ${name}: ${missing}`)
  return chosen.filter(({ missing }) => missing === undefined)
}

async function runAll(scenario: Scenario, record: (result: Result) => void): Promise<void> {
  for (const wire of scenario.wires.filter(one => args.wire.split(',').includes(one))) {
    const peers = chosenPeers().filter(
      ({ name, wires, program }) =>
        wires.includes(wire) && (program !== undefined || scenario.against.includes(name)),
    )
    for (let round = 1; round <= rounds; round++) {
      for (const peer of peers) {
        const measured = peer.program ?? program
        const steps = await withFolder(dir =>
          scenario.run({ peer, wire, program: measured, dir, options }).finally(() => measured.forget(dir)),
        )
        for (const { step, values } of steps) {
          record({ scenario: scenario.name, wire, step, peer: peer.name, round, values })
        }
      }
    }
  }
}

async function main(): Promise<void> {
  if (args.help) return void process.stdout.write(HELP)
  const scenarios = SCENARIOS.filter(({ name }) => args.scenario.split(',').includes(name))
  if (scenarios.length === 0) throw new Error(`no such scenario: ${args.scenario}\n${HELP}`)
  useServerCores(args.cores)
  pinGenerator()
  const machine = describeMachine()
  const { json } = args
  if (json !== undefined)
    writeFileSync(json, `${JSON.stringify({ machine, date: new Date(), rounds, ...options })}\n`)
  const results: Result[] = []
  for (const scenario of scenarios) {
    await runAll(scenario, result => {
      results.push(result)
      say(JSON.stringify(result))
      if (json !== undefined) appendFileSync(json, `${JSON.stringify(result)}\n`)
    })
  }
  process.stdout.write(`${machine}; ${rounds} rounds, median (min–max)\n\n${markdown(results, 'mumi')}`)
  for (const floor of args.floor.split(',').filter(Boolean)) {
    const [peer = '', least] = floor.split('=')
    const fault = below(results, { reference: 'mumi', peer, least: Number(least) })
    if (fault === undefined) continue
    say(fault)
    process.exitCode = 1
  }
}

await main()
