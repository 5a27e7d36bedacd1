/** `login`: many logins at once, with the default bcrypt cost, and how they affect running chats. */
import { setTimeout as delay } from 'node:timers/promises'
import { Chat, compared } from './chat.js'
import { userId } from './program.js'
import type { Context, Scenario, Step } from './scenario.js'

const USERS = 20
/** The default of passwords.cost. */
const COST = 10
/** Messages a second from all users together: a low load, so that delays come from the logins. */
const RATE = 400

async function run({ peer, wire, dir, options, program }: Context): Promise<Step[]> {
  await program.addUsers(dir, 0, USERS + options.logins, COST)
  const server = await program.start(dir, { 'passwords.cost': COST })
  try {
    const chat = await Chat.open({ peer, server, wire, users: USERS })
    const before = await chat.pace(RATE, () => delay(options.seconds * 1000))
    const clients = Array.from({ length: options.logins }, () => peer.connect(server, 'recipient', wire))
    for (const client of clients) await client.open()
    const begun = performance.now()
    const during = await chat.pace(RATE, () =>
      Promise.all(clients.map((client, i) => client.enter(userId(USERS + i), 'clean'))),
    )
    const seconds = (performance.now() - begun) / 1000
    await Promise.all([chat.close(), ...clients.map(client => client.close())])
    const values = { 'logins/s': options.logins / seconds, ...compared(before, during) }
    return [{ step: `${options.logins} at once`, values }]
  } finally {
    await server.stop()
  }
}

export const login: Scenario = { name: 'login', wires: ['json'], against: [], run }
