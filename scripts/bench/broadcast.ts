/** `broadcast`: how one account that broadcasts long texts to many connected users affects running chats. */
import { setTimeout as delay } from 'node:timers/promises'
import { Chat, compared, enterAll } from './chat.js'
import { JsonClient } from './json-client.js'
import { memoryKiB } from './machine.js'
import type { Context, Scenario, Step } from './scenario.js'
import type { Server } from './server.js'

const USERS = 20
/** Messages a second from all users together. */
const RATE = 400
const READERS = 200
const BROADCASTS = 249
const CONTENT = 'x'.repeat(60_000)
/** The default of limits.broadcastBytes, which the bench switches off. */
const SHIPPED_LIMIT = 8 * 2 ** 20

async function run({ peer, wire, dir, options, program }: Context): Promise<Step[]> {
  await program.addUsers(dir, 0, USERS + READERS + 1)
  const steps: Step[] = []
  for (const [step, limits] of [
    ['with the limit as shipped', { 'limits.broadcastBytes': SHIPPED_LIMIT }],
    ['without a limit', {}],
  ] as const) {
    const server = await program.start(dir, limits)
    const readers = Array.from({ length: READERS }, () => peer.connect(server, 'recipient', wire))
    const sender = new JsonClient(server.ports.http)
    try {
      const chat = await Chat.open({ peer, server, wire, users: USERS })
      await enterAll(readers, USERS)
      await enterAll([sender], USERS + READERS)
      const before = await chat.pace(RATE, () => delay(options.seconds * 1000))
      const told = { sent: 0, refused: 0, seconds: 0, peak: 0 }
      const during = await chat.pace(RATE, () => broadcastAll(server, sender, told))
      const after = await chat.pace(RATE, () => delay(options.seconds * 1000))
      await chat.close()
      steps.push({
        step,
        values: {
          ...compared(before, during),
          'p99 ms after': after['p99 ms'] ?? 0,
          'broadcasts sent': told.sent,
          'broadcasts refused': told.refused,
          seconds: told.seconds,
          'memory MiB at most': told.peak,
        },
      })
    } finally {
      await Promise.all([sender, ...readers].map(client => client.close()))
      await server.stop()
    }
  }
  return steps
}

async function broadcastAll(
  server: Server,
  sender: JsonClient,
  told: { sent: number; refused: number; seconds: number; peak: number },
): Promise<void> {
  const begun = performance.now()
  const timer = setInterval(() => {
    told.peak = Math.max(told.peak, memoryKiB(server.pid) / 1024)
  }, 10)
  await Promise.all(
    Array.from({ length: BROADCASTS }, async (_, n) => {
      const data = { content: `${n}${CONTENT}` }
      // The gateway closes a connection after many refusals.
      const reply = await sender.request({ type: 'broadcast', id: `b${n}`, data }).catch(() => undefined)
      if (reply !== undefined && reply.code < 300) told.sent++
      else told.refused++
    }),
  )
  clearInterval(timer)
  told.seconds = (performance.now() - begun) / 1000
}

export const broadcast: Scenario = { name: 'broadcast', wires: ['json'], against: [], run }
