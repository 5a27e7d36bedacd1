/** `npm run bench`: runs the program and its peers in turn on one core, the generator on another (docs/performance.md). */
import { appendFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { broadcast } from './broadcast.js'
import { enumeration } from './enumeration.js'
import { frozen } from './frozen.js'
import { grow } from './grow.js'
import { idle } from './idle.js'
import { aboveLimit, belowFloor, parseFloor, parseLimit } from './judge.js'
import { load } from './load.js'
import { login } from './login.js'
import { describeMachine, pinGenerator, useServerCores } from './machine.js'
import { offline } from './offline.js'
import { offload } from './offload.js'
import { buildOf } from './other-build.js'
import { pairs } from './pairs.js'
import { gateway, PEERS, type Peer } from './peers.js'
import { presence } from './presence.js'
import { Program } from './program.js'
import { comparison, markdown } from './report.js'
import { rest } from './rest.js'
import type { Result } from './results.js'
import { comeBack } from './return.js'
import { runAll } from './run.js'
import type { Options, Scenario } from './scenario.js'
import { start } from './start.js'
import { tokens } from './tokens.js'
import { GENERATORS } from './turns.js'

const SCENARIOS: readonly Scenario[] = [
  pairs,
  load,
  idle,
  rest,
  offline,
  login,
  tokens,
  comeBack,
  frozen,
  broadcast,
  presence,
  grow,
  start,
  offload,
  enumeration,
]
/** All others are compared with it. */
const REFERENCE = 'mumi'
const BUILT = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

const HELP = `npm run bench -- [options]

  --scenario ${SCENARIOS.map(({ name }) => name).join('|')}   which, comma-separated; default pairs
  --wire json,mqtt,json-mqtt   only these; mqtt5 is MQTT 5
  --peers mumi,${PEERS.map(({ name }) => name).join(',')}   only these
  --rate 10000,2000,500    load: open loops, messages a second in all; a delay counts from when a message was due; 0 for none
  --window 16,1,64         load: closed loops, unacknowledged messages a sender; 0 for none
  --generator single,batching   load: sends and reads at once, or naps 0.2 ms and takes what has gathered
  --both-ways              load: both users of a pair send
  --against REF      also another commit, built in a temporary folder
  --limit 'PEER STEP=N'   fail when the CPU time a message of program ÷ peer is higher at this step (median); repeatable
  --store mongodb    the program a second time, on the MongoDB server that MUMI_TEST_MONGODB_URL names
  --rounds 3         of all peers in turn
  --seconds 10       of each measurement
  --json FILE        also one JSON line a result
  --program FILE     another build's dist/main.js
  --cores 0          for the server, as taskset takes them; the generator has core 1
  --floor PEER=N     fail when program ÷ peer is lower (median, by clock and by CPU); comma-separated
  --exempt           requests from this machine are not counted, as shipped; also for builds without limits
  --messages 20000   offline: waiting for 100 users together
  --logins 1000      login, tokens, return: at once
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
    rate: { type: 'string', default: '10000,2000,500' },
    window: { type: 'string', default: '16,1,64' },
    generator: { type: 'string', default: GENERATORS.join() },
    'both-ways': { type: 'boolean', default: false },
    against: { type: 'string' },
    limit: { type: 'string', multiple: true, default: [] },
    floor: { type: 'string', default: '' },
    messages: { type: 'string', default: '20000' },
    logins: { type: 'string', default: '1000' },
    'max-messages': { type: 'string', default: '1000000' },
    big: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

const numbers = (list: string) => list.split(',').map(Number).filter(Boolean)

const options: Options = {
  loads: [...numbers(args.rate).map(rate => ({ rate })), ...numbers(args.window).map(window => ({ window }))],
  generators: GENERATORS.filter(name => args.generator.split(',').includes(name)),
  bothWays: args['both-ways'],
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

function chosenPeers(other: Peer | undefined): Peer[] {
  const names = args.peers.split(',')
  const mongo = args.store === 'mongodb' ? [gateway(onMongo, 'mumi-mongodb')] : []
  const named = [gateway(program), ...PEERS].filter(({ name }) => names.includes(name))
  const chosen = [...named, ...mongo, ...(other === undefined ? [] : [other])]
  for (const { name, missing } of chosen) if (missing !== undefined) say(`SKIPPED ${name}: ${missing}`)
  return chosen.filter(({ missing }) => missing === undefined)
}

/** @returns the results, which are also written as they come */
async function measure(scenarios: readonly Scenario[], machine: string, other: Peer | undefined) {
  const { json } = args
  if (json !== undefined)
    writeFileSync(json, `${JSON.stringify({ machine, date: new Date(), rounds, ...options })}\n`)
  const results: Result[] = []
  const plan = { peers: chosenPeers(other), wires: args.wire.split(','), rounds, options, program }
  for (const scenario of scenarios) {
    await runAll(scenario, plan, result => {
      results.push(result)
      say(JSON.stringify(result))
      if (json !== undefined) appendFileSync(json, `${JSON.stringify(result)}\n`)
    })
  }
  return results
}

/** @returns error texts */
function judge(results: readonly Result[]): string[] {
  const floors = args.floor.split(',').filter(Boolean)
  return [
    ...floors.map(floor => belowFloor(results, parseFloor(floor, REFERENCE))),
    ...args.limit.map(limit => aboveLimit(results, parseLimit(limit, REFERENCE))),
  ].filter(fault => fault !== undefined)
}

async function main(): Promise<void> {
  if (args.help) return void process.stdout.write(HELP)
  const scenarios = SCENARIOS.filter(({ name }) => args.scenario.split(',').includes(name))
  if (scenarios.length === 0) throw new Error(`no such scenario: ${args.scenario}\n${HELP}`)
  const build = args.against === undefined ? undefined : buildOf(args.against)
  const other = build && gateway(new Program(build.main, 'embedded', !args.exempt), `mumi@${args.against}`)
  try {
    useServerCores(args.cores)
    pinGenerator()
    const machine = describeMachine()
    const results = await measure(scenarios, machine, other)
    process.stdout.write(`${machine}; ${rounds} rounds, median (min–max)\n\n${markdown(results, REFERENCE)}`)
    if (other !== undefined) process.stdout.write(`\n${comparison(results, REFERENCE, other.name)}`)
    const faults = judge(results)
    for (const fault of faults) say(fault)
    if (faults.length > 0) process.exitCode = 1
  } finally {
    build?.remove()
  }
}

await main()
