/** `presence`: the cost of a login and logout while devices subscribe to the account's presence. */
import { Chat, compared, enterAll } from './chat.js'
import { JsonClient } from './json-client.js'
import { cpuSeconds } from './machine.js'
import { MqttClient } from './mqtt-client.js'
import { userId } from './program.js'
import type { Context, Scenario, Step } from './scenario.js'
import type { Server } from './server.js'

const USERS = 20
/** Messages a second from all users together. */
const RATE = 400
const WATCHERS = 500
const LOGINS = 200

async function run({ peer, wire, dir, program }: Context): Promise<Step[]> {
  await program.addUsers(dir, 0, USERS + WATCHERS + 1)
  const server = await program.start(dir)
  const watchers = Array.from({ length: WATCHERS }, () => new MqttClient(server.ports.mqtt, 'gateway'))
  try {
    const watched = USERS + WATCHERS
    const chat = await Chat.open({ peer, server, wire, users: USERS })
    await enterAll(watchers, USERS)
    const cost = { alone: 0, watched: 0 }
    const comeAndGo = async (kind: keyof typeof cost) => {
      const begun = cpuSeconds(server.pid)
      for (let n = 0; n < LOGINS; n++) await visit(server, watched)
      cost[kind] = ((cpuSeconds(server.pid) - begun) * 1000) / LOGINS
    }
    const before = await chat.pace(RATE, () => comeAndGo('alone'))
    for (const watcher of watchers) await watcher.subscribe(`users/${userId(watched)}/presence`)
    const during = await chat.pace(RATE, () => comeAndGo('watched'))
    await chat.close()
    const values = {
      'CPU ms a login, watched ÷ not': cost.watched / cost.alone,
      'CPU ms a login, not watched': cost.alone,
      'CPU ms a login, watched': cost.watched,
      ...compared(before, during),
    }
    return [{ step: `${WATCHERS} watchers`, values }]
  } finally {
    await Promise.all(watchers.map(watcher => watcher.close()))
    await server.stop()
  }
}

async function visit(server: Server, n: number): Promise<void> {
  const client = new JsonClient(server.ports.http)
  await enterAll([client], n)
  await client.close()
}

export const presence: Scenario = { name: 'presence', wires: ['json'], against: [], run }
