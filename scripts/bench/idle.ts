/** `idle`: a small `pairs` beside a growing number of silent, logged-in connections. */
import { Chat, fill, type Values } from './chat.js'
import type { Chatter } from './chatter.js'
import type { Context, Scenario, Step } from './scenario.js'

const USERS = 20
const IDLE = [0, 1000, 5000, 10_000]
const LOAD = { load: { window: 16 }, warmUpSeconds: 3 }

async function run({ peer, wire, dir, options, program }: Context): Promise<Step[]> {
  if (peer.program !== undefined) await program.addUsers(dir, 0, USERS + Math.max(...IDLE))
  const server = await peer.start(dir)
  const idle: Chatter[] = []
  try {
    const chat = await Chat.open({ peer, server, wire, users: USERS })
    const steps: Step[] = []
    for (const count of IDLE) {
      await fill(idle, count, USERS, () => peer.connect(server, 'recipient', wire))
      const values = await chat.measureFor(options.seconds, LOAD)
      steps.push({
        step: `${count} idle`,
        values: { ...values, ...compare(values, steps[0]?.values, count) },
      })
    }
    await chat.close()
    return steps
  } finally {
    await Promise.all(idle.map(chatter => chatter.close()))
    await server.stop()
  }
}

/** Adds the ratios to the result without idle connections. Memory of few connections is lost in the noise of the heap. */
function compare(values: Values, alone: Values | undefined, count: number): Values {
  if (alone === undefined) return {}
  const grown = (name: string) => (values[name] ?? 0) - (alone[name] ?? 0)
  return {
    'throughput to none idle': (values['messages/s'] ?? 0) / (alone['messages/s'] ?? 1),
    'CPU a message to none idle':
      (alone['messages/server CPU s'] ?? 0) / (values['messages/server CPU s'] ?? 1),
    'KiB a connection': (grown('memory MiB') * 1024) / count,
  }
}

export const idle: Scenario = {
  name: 'idle',
  wires: ['json', 'mqtt'],
  against: ['relay', 'socketio', 'aedes', 'mosquitto'],
  run,
}
