/** `pairs`: 100 users in 50 pairs, each sending as fast as it is acknowledged, with 16 unacknowledged messages. */
import { Chat } from './chat.js'
import type { Context, Scenario, Step } from './scenario.js'

const USERS = 100
const LOAD = { load: { window: 16 }, warmUpSeconds: 3 }

async function run({ peer, wire, dir, options, program }: Context): Promise<Step[]> {
  if (peer.program !== undefined) await program.addUsers(dir, 0, USERS)
  const server = await peer.start(dir)
  try {
    const chat = await Chat.open({ peer, server, wire, users: USERS })
    const values = await chat.measureFor(options.seconds, LOAD)
    await chat.close()
    return [{ step: '', values }]
  } finally {
    await server.stop()
  }
}

export const pairs: Scenario = {
  name: 'pairs',
  wires: ['json', 'mqtt', 'mqtt5', 'json-mqtt'],
  against: ['relay', 'socketio', 'aedes', 'mosquitto'],
  run,
}
