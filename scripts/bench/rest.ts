/**
 * `rest`: memory of silent, logged-in connections of a server that has nothing else to do. What the first thousands cost is
 * mostly the young generation, which grows once; so the last step tells what one more connection costs.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { fill } from './chat.js'
import type { Chatter } from './chatter.js'
import { memoryKiB } from './machine.js'
import type { Context, Scenario, Step } from './scenario.js'

const COUNTS = [8000, 16_000]
/** V8 collects what logins left when nothing has happened for 8 s. */
const REST_MS = 15_000

async function run({ peer, wire, dir, program }: Context): Promise<Step[]> {
  if (peer.program !== undefined) await program.addUsers(dir, 0, Math.max(...COUNTS))
  const server = await peer.start(dir)
  const resting: Chatter[] = []
  try {
    const bare = memoryKiB(server.pid)
    let [count, kib] = [0, bare]
    const steps: Step[] = []
    for (const next of COUNTS) {
      await fill(resting, next, 0, () => peer.connect(server, 'recipient', wire))
      await delay(REST_MS)
      const now = memoryKiB(server.pid)
      const values = {
        'KiB of one more connection': (now - kib) / (next - count),
        'KiB a connection, all of it': (now - bare) / next,
        'memory MiB': now / 1024,
      }
      steps.push({ step: `${next} connections`, values })
      ;[count, kib] = [next, now]
    }
    return steps
  } finally {
    await Promise.all(resting.map(chatter => chatter.close()))
    await server.stop()
  }
}

export const rest: Scenario = {
  name: 'rest',
  wires: ['json', 'mqtt'],
  against: ['relay', 'socketio', 'aedes', 'mosquitto'],
  run,
}
