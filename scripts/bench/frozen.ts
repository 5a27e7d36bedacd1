/** `frozen`: how a client that stays connected and reads nothing affects running chats. */
import { setTimeout as delay } from 'node:timers/promises'
import { Chat, compared } from './chat.js'
import { Flow, Meter } from './flow.js'
import { userId } from './program.js'
import type { Context, Scenario, Step } from './scenario.js'
import type { Server } from './server.js'
import { micros } from './socket.js'

const USERS = 100
/** Messages a second from all users together. */
const RATE = 1000
/** Messages to the frozen client before the chats are measured: more than sockets and buffers hold. */
const HELD = 50_000
/** Unacknowledged messages of the one who sends them. */
const WINDOW = 16
/** Interval of messages to the frozen client while the chats are measured. */
const HELD_INTERVAL_MS = 10

async function run(context: Context): Promise<Step[]> {
  const { peer, wire, dir, options, program } = context
  await program.addUsers(dir, 0, USERS + 2)
  const server = await peer.start(dir)
  try {
    const chat = await Chat.open({ peer, server, wire, users: USERS })
    const measure = () => chat.pace(RATE, () => delay(options.seconds * 1000))
    await measure() // warm-up
    const before = await measure()
    const thaw = await freeze(context, server)
    const during = await measure()
    await thaw()
    await chat.close()
    return [{ step: '', values: { ...compared(before, during), 'memory MiB': during['memory MiB'] ?? 0 } }]
  } finally {
    await server.stop()
  }
}

/** Starts a client that reads nothing and one that keeps sending to it. @returns a function that ends both */
async function freeze({ peer, wire }: Context, server: Server): Promise<() => Promise<unknown>> {
  const sender = peer.connect(server, 'sender', wire)
  const frozen = peer.connect(server, 'recipient', wire)
  for (const [i, one] of [sender, frozen].entries()) {
    await one.open()
    await one.enter(userId(USERS + i), 'clean')
  }
  frozen.freeze()
  const flow = new Flow(new Meter())
  flow.limit = HELD
  sender.aim(userId(USERS + 1), flow)
  sender.flood(WINDOW)
  while (flow.acked < HELD) await delay(1)
  const timer = setInterval(() => sender.sendDue(micros()), HELD_INTERVAL_MS)
  return () => {
    clearInterval(timer)
    return Promise.all([sender.close(), frozen.close()])
  }
}

export const frozen: Scenario = { name: 'frozen', wires: ['json', 'mqtt', 'mqtt5'], against: [], run }
