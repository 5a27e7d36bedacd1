/** `tokens`: how many come back by token at once, over connections that are open already, and with the handshake. */
import { JsonClient } from './json-client.js'
import { cpuSeconds } from './machine.js'
import { emailOf, PASSWORD, userId } from './program.js'
import type { Context, Scenario, Step } from './scenario.js'
import type { Server } from './server.js'

const action = (name: string, data: object) => ({ type: 'action', action: name, data })

async function run({ dir, options, program }: Context): Promise<Step[]> {
  const { logins } = options
  await program.addUsers(dir, 0, 2 * logins)
  const server = await program.start(dir)
  try {
    const measured = await tokensOf(server, 0, logins)
    // The same once before, with others, so that the code is warm and these tokens are new to the server.
    const others = await tokensOf(server, logins, 2 * logins)
    await overOpen(server, others)
    await withHandshake(server, others)
    return [
      { step: 'connections open, tokens new', values: await overOpen(server, measured) },
      { step: 'connections open, tokens seen before', values: await overOpen(server, measured) },
      { step: 'with TCP and WebSocket handshake', values: await withHandshake(server, measured) },
    ]
  } finally {
    await server.stop()
  }
}

/** Access tokens of accounts number `from` to `to`, whose connections are closed again. */
async function tokensOf(server: Server, from: number, to: number): Promise<string[]> {
  const tokens: string[] = []
  for (let n = from; n < to; n++) {
    const client = new JsonClient(server.ports.http)
    await client.open()
    const login = { email: emailOf(userId(n)), password: PASSWORD, token: true }
    const { code, data } = await client.request(action('login', login))
    if (code !== 202) throw new Error(`login answered ${code}`)
    tokens.push((data as { token: string }).token)
    await client.close()
  }
  return tokens
}

async function overOpen(server: Server, tokens: readonly string[]) {
  const clients = tokens.map(() => new JsonClient(server.ports.http))
  for (const client of clients) await client.open()
  const values = await timed(server, tokens.length, () =>
    Promise.all(clients.map((client, i) => enter(client, tokens[i]))),
  )
  await Promise.all(clients.map(client => client.close()))
  return values
}

/** As many at a time as a listener's backlog takes. */
const AT_ONCE = 100

async function withHandshake(server: Server, tokens: readonly string[]) {
  const clients: JsonClient[] = []
  const next = tokens.values()
  const comeBack = async () => {
    for (const token of next) {
      const client = new JsonClient(server.ports.http)
      clients.push(client)
      await client.open()
      await enter(client, token)
    }
  }
  const values = await timed(server, tokens.length, () =>
    Promise.all(Array.from({ length: AT_ONCE }, comeBack)),
  )
  await Promise.all(clients.map(client => client.close()))
  return values
}

async function enter(client: JsonClient, token: string | undefined): Promise<void> {
  const { code } = await client.request(action('login', { token }))
  if (code !== 202) throw new Error(`login by token answered ${code}`)
}

async function timed({ pid }: Server, logins: number, work: () => Promise<unknown>) {
  const [begun, used] = [performance.now(), cpuSeconds(pid)]
  await work()
  const seconds = (performance.now() - begun) / 1000
  return { 'logins/s': logins / seconds, 'logins/server CPU s': logins / (cpuSeconds(pid) - used) }
}

export const tokens: Scenario = { name: 'tokens', wires: ['json'], against: [], run }
