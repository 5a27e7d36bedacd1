/** `offline`: sends messages to 100 users who are away; then all log in at once, by token. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Values } from './chat.js'
import { enterAll, settled } from './chat.js'
import type { Chatter } from './chatter.js'
import { Flow, Meter } from './flow.js'
import { cpuSeconds, memoryKiB } from './machine.js'
import { userId, withFolder } from './program.js'
import type { Context, Scenario, Step } from './scenario.js'
import type { Server } from './server.js'
import { storeMessages } from './stored.js'
import { makeTokens } from './tokens.js'

const USERS = 100
/** Unacknowledged messages of a sender. */
const WINDOW = 16
const MILLION = 1_000_000
/** Warm-up runs of the whole cycle before the measured one. */
const WARM_UPS = 4
/** Time for confirmations to arrive and be written. */
const QUIET_MS = 300

interface Cycle extends Context {
  readonly server: Server
  /** Of the recipients; empty for a peer without accounts. */
  readonly tokens: readonly string[]
}

async function run(context: Context): Promise<Step[]> {
  const { peer, dir, program } = context
  // Senders are users 0 to 99, recipients 100 to 199.
  const hasAccounts = peer.program !== undefined
  if (hasAccounts) await program.addUsers(dir, 0, 2 * USERS)
  const tokens = hasAccounts ? await makeTokens(context, USERS, USERS) : []
  const before = storeBytes(dir)
  const cycle = { ...context, tokens, server: await peer.start(dir) }
  let values: Values
  try {
    // A broker only keeps messages for a session that exists.
    await timeLogins(cycle)
    for (let n = 0; n < WARM_UPS; n++) await measure(cycle)
    values = await measure(cycle)
  } finally {
    await cycle.server.stop()
  }
  const stored = (storeBytes(dir) - before) / ((WARM_UPS + 1) * context.options.messages)
  const many = { step: '100 users', values: { ...values, ...(before > 0 && { 'disk B/message': stored }) } }
  const isBig = context.options.big && peer.name === 'mumi' && context.wire === 'json'
  return isBig ? [many, await withFolder(one => drainOne({ ...context, dir: one }))] : [many]
}

/** Size of the embedded store of a gateway that does not run; 0 where there is none. */
const storeBytes = (dir: string): number =>
  statSync(join(dir, 'store', 'data.mdb'), { throwIfNoEntry: false })?.size ?? 0

/** One user with a million messages, the default limit of an inbox. */
async function drainOne({ peer, wire, dir, program }: Context): Promise<Step> {
  await program.addUsers(dir, 0, 2)
  const [sender, recipient] = [userId(0), userId(1)]
  await storeMessages(program, dir, MILLION, seq => ({ sender, recipient, seq }))
  const server = await peer.start(dir)
  try {
    const flow = new Flow(new Meter())
    flow.sent = flow.acked = MILLION
    const chatter = peer.connect(server, 'recipient', wire)
    chatter.incoming = flow
    await chatter.open()
    const begun = performance.now()
    await chatter.enter(recipient, 'kept')
    await settled([flow])
    const seconds = (performance.now() - begun) / 1000
    const { lost, duplicated, reordered, damaged } = flow
    const memory = memoryKiB(server.pid) / 1024
    await chatter.close()
    const values = {
      'drained/s': MILLION / seconds,
      'memory MiB': memory,
      lost,
      duplicated,
      reordered,
      damaged,
    }
    return { step: 'one user, 1000000 messages', values }
  } finally {
    await server.stop()
  }
}

async function measure(cycle: Cycle) {
  const { messages } = cycle.options
  const loginSeconds = await timeLogins(cycle)
  const flows = Array.from({ length: USERS }, () => new Flow(new Meter()))
  const enqueueSeconds = await enqueue(cycle, flows)
  const { drainSeconds, serverSeconds, drainCpu } = await drain(cycle, flows)
  const sum = (of: (flow: Flow) => number) => flows.reduce((total, flow) => total + of(flow), 0)
  return {
    'drained/s': messages / Math.max(drainSeconds - loginSeconds, 0.001),
    'drained/s with logins': messages / drainSeconds,
    'the same/server CPU s': messages / drainCpu,
    'enqueued/s': messages / enqueueSeconds,
    'logins ms': loginSeconds * 1000,
    'first to last ms': serverSeconds * 1000,
    'memory MiB': memoryKiB(cycle.server.pid) / 1024,
    lost: sum(flow => flow.lost),
    duplicated: sum(flow => flow.duplicated),
    reordered: sum(flow => flow.reordered),
    damaged: sum(flow => flow.damaged),
  }
}

const recipients = ({ peer, server, wire }: Cycle) =>
  Array.from({ length: USERS }, () => peer.connect(server, 'recipient', wire))

const closeAll = (chatters: readonly Chatter[]) => Promise.all(chatters.map(chatter => chatter.close()))

/** Seconds to log all recipients in while no messages wait. */
async function timeLogins(cycle: Cycle): Promise<number> {
  const chatters = recipients(cycle)
  const seconds = await enterAtOnce(chatters, cycle)
  await delay(QUIET_MS)
  await closeAll(chatters)
  await delay(QUIET_MS)
  return seconds
}

async function enterAtOnce(chatters: readonly Chatter[], cycle: Cycle): Promise<number> {
  await Promise.all(chatters.map(chatter => chatter.open()))
  const begun = performance.now()
  await enterEach(chatters, cycle)
  return (performance.now() - begun) / 1000
}

const enterEach = (chatters: readonly Chatter[], { tokens }: Cycle) =>
  Promise.all(chatters.map((chatter, i) => chatter.enter(userId(USERS + i), 'kept', tokens[i])))

async function enqueue({ peer, server, wire, options }: Cycle, flows: readonly Flow[]): Promise<number> {
  const senders = flows.map(() => peer.connect(server, 'sender', wire))
  await enterAll(senders, 0)
  for (const [i, sender] of senders.entries()) {
    const flow = flows[i]
    if (flow === undefined) continue
    flow.limit = options.messages / USERS
    sender.aim(userId(USERS + i), flow)
  }
  const begun = performance.now()
  for (const sender of senders) sender.flood(WINDOW)
  while (!flows.every(flow => flow.acked === flow.limit)) await delay(1)
  const seconds = (performance.now() - begun) / 1000
  await closeAll(senders)
  return seconds
}

async function drain(cycle: Cycle, flows: readonly Flow[]) {
  const chatters = recipients(cycle)
  for (const [i, chatter] of chatters.entries()) chatter.incoming = flows[i]
  await Promise.all(chatters.map(chatter => chatter.open()))
  const [begun, used] = [performance.now(), cpuSeconds(cycle.server.pid)]
  const entered = enterEach(chatters, cycle)
  while (!flows.some(flow => flow.received > 0)) await delay(1)
  const first = performance.now()
  await Promise.all([entered, settled(flows)])
  const last = performance.now()
  const drainCpu = cpuSeconds(cycle.server.pid) - used
  await delay(QUIET_MS)
  await closeAll(chatters)
  await delay(QUIET_MS)
  return { drainSeconds: (last - begun) / 1000, serverSeconds: (last - first) / 1000, drainCpu }
}

export const offline: Scenario = {
  name: 'offline',
  wires: ['json', 'mqtt', 'mqtt5'],
  against: ['aedes', 'mosquitto'],
  run,
}
