/** `start`: time until ready and memory then, with an empty store, with many users, and with many retained topics. */
import { memoryKiB } from './machine.js'
import { MqttClient } from './mqtt-client.js'
import { type Program, userId, withFolder } from './program.js'
import type { Context, Scenario, Step } from './scenario.js'

const USERS = 1_000_000
const TOPICS = 100_000
const CLIENTS = 50
/** Starts per folder; the result is their median. */
const STARTS = 5

async function run({ program }: Context): Promise<Step[]> {
  return [
    await withFolder(dir => measure(program, dir, 'empty')),
    await withFolder(async dir => {
      await program.addUsers(dir, 0, USERS)
      return measure(program, dir, `${USERS} users`)
    }),
    await withFolder(async dir => {
      await retain(program, dir)
      return measure(program, dir, `${TOPICS} retained topics`)
    }),
  ]
}

async function measure(program: Program, dir: string, step: string): Promise<Step> {
  const times: number[] = []
  const memories: number[] = []
  for (let n = 0; n < STARTS; n++) {
    const server = await program.start(dir)
    times.push(server.startMs)
    memories.push(memoryKiB(server.pid) / 1024)
    await server.stop()
  }
  return { step, values: { 'ready ms': median(times), 'memory MiB': median(memories) } }
}

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN

async function retain(program: Program, dir: string): Promise<void> {
  await program.addUsers(dir, 0, CLIENTS)
  const server = await program.start(dir, { 'mqtt.acl': 'open' })
  try {
    const clients = Array.from({ length: CLIENTS }, () => new MqttClient(server.ports.mqtt, 'gateway'))
    await Promise.all(
      clients.map(async (client, i) => {
        await client.open()
        await client.enter(userId(i), 'clean')
        for (let n = 0; n < TOPICS / CLIENTS; n++) await client.retain(`bench/${i}/${n}`, 'x'.repeat(100))
        await client.close()
      }),
    )
  } finally {
    await server.stop()
  }
}

export const start: Scenario = { name: 'start', wires: ['json'], against: [], run }
