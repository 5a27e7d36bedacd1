/** `grow`: measures the same operations with ten times more users and messages at each step. Costs should stay the same. */
import { createHistogram } from 'node:perf_hooks'
import { Chat, type Values } from './chat.js'
import { JsonClient } from './json-client.js'
import { memoryKiB } from './machine.js'
import { emailOf, userId } from './program.js'
import type { Context, Scenario, Step } from './scenario.js'
import { confirmAll, storeMessages } from './stored.js'

/** The users that chat; they have no other messages. */
const CHATTERS = 20
/** The user whose conversation is read; it holds a tenth of all messages. */
const READER = userId(CHATTERS)
const WRITER = userId(CHATTERS + 1)
const FIRST = CHATTERS + 2
const MAX_USERS = 1_000_000
const REQUESTS = 500
const LOGINS = 100
const PAGE = 10
const LOAD = { load: { window: 16 }, warmUpSeconds: 3 }

async function run({ peer, wire, dir, options, program }: Context): Promise<Step[]> {
  const steps: Step[] = []
  let users = 0
  for (let messages = 100, stored = 0; messages <= options.maxMessages; messages *= 10) {
    const grown = Math.min(MAX_USERS, messages * 10)
    await program.addUsers(dir, users, grown)
    users = grown
    const before = stored
    await storeMessages(program, dir, messages - stored, n => scattered(before + n, users))
    await confirmAll(program, dir, [READER, WRITER])
    stored = messages
    const server = await program.start(dir)
    try {
      const chat = await Chat.open({ peer, server, wire, users: CHATTERS })
      const send = await chat.measureFor(options.seconds, LOAD)
      await chat.close()
      const values = {
        'sent/s': send['messages/s'] ?? 0,
        'sent/server CPU s': send['messages/server CPU s'] ?? 0,
        ...(await requests(server.ports.http, users)),
        'memory MiB': memoryKiB(server.pid) / 1024,
        lost: send.lost ?? 0,
      }
      steps.push({ step: `${users} users and ${messages} messages`, values })
    } finally {
      await server.stop()
    }
  }
  return steps
}

/** The n-th stored message: every tenth is in that conversation, the others are spread over all users. */
function scattered(n: number, users: number) {
  if (n % 10 === 0) return { sender: WRITER, recipient: READER, seq: n }
  const anyone = (factor: number) => userId(FIRST + ((n * factor) % (users - FIRST)))
  return { sender: anyone(7919), recipient: anyone(104_729), seq: n }
}

async function requests(port: number, users: number): Promise<Values> {
  const reader = new JsonClient(port)
  await reader.open()
  await reader.enter(READER)
  const anyone = (n: number) => userId(FIRST + ((n * 15_485_863) % (users - FIRST)))
  const values = {
    ...(await timed('history', REQUESTS, pages(reader))),
    ...(await timed('query by email', REQUESTS, async n => {
      const data = { email: emailOf(anyone(n)) }
      await expectSuccess(reader, { type: 'action', action: 'query', data })
    })),
    ...(await timed('login', LOGINS, async n => {
      const client = new JsonClient(port)
      await client.open()
      await client.enter(anyone(n))
      await client.close()
    })),
  }
  await reader.close()
  return values
}

/** Reads one page further back on each call; after the oldest it starts at the newest again. */
function pages(reader: JsonClient): () => Promise<void> {
  let before: string | undefined
  return async () => {
    const data = { with: WRITER, limit: PAGE, ...(before === undefined ? {} : { before }) }
    const reply = await expectSuccess(reader, { type: 'action', action: 'history', data })
    const { messages } = reply as { messages: { id: string }[] }
    before = messages.length < PAGE ? undefined : messages.at(-1)?.id
  }
}

async function expectSuccess(client: JsonClient, request: object): Promise<unknown> {
  const { code, data } = await client.request(request)
  if (code !== 200) throw new Error(`answered ${code}`)
  return data
}

/** Runs the calls one after another; the first tenth is warm-up and not counted. */
async function timed(name: string, count: number, request: (n: number) => Promise<void>): Promise<Values> {
  const times = createHistogram()
  for (let n = 0; n < count * 1.1; n++) {
    const begun = performance.now()
    await request(n)
    if (n >= count * 0.1) times.record(Math.max(1, Math.round((performance.now() - begun) * 1000)))
  }
  return { [`${name} p50 ms`]: times.percentile(50) / 1000, [`${name} p99 ms`]: times.percentile(99) / 1000 }
}

export const grow: Scenario = { name: 'grow', wires: ['json'], against: [], run }
