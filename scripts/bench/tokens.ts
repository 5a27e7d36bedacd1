/** `tokens`: logins a second by token, on connections that are already open, and including the handshake. */
import { JsonClient } from './json-client.js'
import { cpuSeconds } from './machine.js'
import { userId } from './program.js'
import type { Context, Scenario, Step } from './scenario.js'
import type { Server } from './server.js'

const HOUR_MS = 3_600_000

const action = (name: string, data: object) => ({ type: 'action', action: name, data })

async function run(context: Context): Promise<Step[]> {
  const { dir, options, program } = context
  await program.addUsers(dir, 0, 2 * options.logins)
  const all = await makeTokens(context, 0, 2 * options.logins)
  const [measured, others] = [all.slice(0, options.logins), all.slice(options.logins)]
  const server = await program.start(dir)
  try {
    // Warm-up with other tokens, so that the measured tokens are new to the server.
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

/**
 * Makes access tokens as the gateway of this folder would; logins by password would take minutes.
 * @param first index of the first user
 */
export async function makeTokens({ dir, program }: Context, first: number, count: number): Promise<string[]> {
  const { Logins, newLoginId } = await load<typeof import('../../src/auth/logins.js')>('logins')
  const { TokenKeys } = await load<typeof import('../../src/auth/token-keys.js')>('token-keys')
  return program.withStore(dir, async store => {
    const keys = new TokenKeys(store.kv, { accessLifetimeMs: HOUR_MS, keyLifetimeMs: 0 })
    await keys.open()
    const logins = new Logins(store.kv, keys, {
      refreshLifetimeMs: HOUR_MS,
      perAccount: 1,
      refreshGraceMs: 5000,
    })
    const users = Array.from({ length: count }, (_, n) => userId(first + n))
    const made = await Promise.all(users.map(user => logins.open(user, newLoginId(), undefined)))
    return made.map(({ token }) => token)
  })

  function load<M>(module: string): Promise<M> {
    return import(program.url(`auth/${module}.js`))
  }
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

/** Connections at a time: as many as a listener's backlog holds. */
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
