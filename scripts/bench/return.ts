/** `return`: many clients come back in one moment and log in by token, as behind a restart, while others chat. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Chat, compared } from './chat.js'
import type { Herd, HerdIn } from './herd.js'
import { userId } from './program.js'
import type { Context, Scenario, Step } from './scenario.js'
import { makeTokens } from './tokens.js'

const USERS = 20
/** Messages a second from all users together. */
const RATE = 1000

const HERD = fileURLToPath(new URL('herd.ts', import.meta.url))
const TYPESCRIPT = new URL('../typescript.mjs', import.meta.url).href

async function run(context: Context): Promise<Step[]> {
  const { peer, wire, dir, options, program } = context
  const { logins, seconds } = options
  await program.addUsers(dir, 0, USERS + logins)
  const tokens = await makeTokens(context, USERS, logins)
  const server = await program.start(dir)
  const herd = fork(HERD, [], {
    execArgv: ['--import', TYPESCRIPT],
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  const failed = once(herd, 'exit').then(() => Promise.reject(new Error('the herd ended')))
  failed.catch(() => undefined)
  const answer = async (message: Herd | 'go') => {
    const answered = once(herd, 'message')
    herd.send(message)
    return (await Promise.race([answered, failed]))[0]
  }
  try {
    const members = tokens.map((token, i) => ({ id: userId(USERS + i), token }))
    const isMqtt = wire === 'mqtt'
    await answer({
      wire: isMqtt ? 'mqtt' : 'json',
      port: isMqtt ? server.ports.mqtt : server.ports.http,
      members,
    })
    const chat = await Chat.open({ peer, server, wire, users: USERS })
    const before = await chat.pace(RATE, () => delay(seconds * 1000))
    let back: HerdIn = { tookMs: [], failed: 0 }
    const during = await chat.pace(RATE, async () => {
      back = (await answer('go')) as HerdIn
    })
    const after = await chat.pace(RATE, () => delay(seconds * 1000))
    await chat.close()
    return [
      {
        step: `${logins} at once`,
        values: { ...compared(before, during), ...described(back), 'p99 ms after': after['p99 ms'] ?? 0 },
      },
    ]
  } finally {
    await ended(herd)
    await server.stop()
  }
}

const described = ({ tookMs, failed }: HerdIn) => {
  const lastSeconds = (tookMs.at(-1) ?? 0) / 1000
  return {
    'all in after s': lastSeconds,
    'half in after s': (tookMs[tookMs.length >> 1] ?? 0) / 1000,
    'logins/s': tookMs.length / lastSeconds,
    'attempts that failed': failed,
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

export const comeBack: Scenario = { name: 'return', wires: ['json', 'mqtt'], against: [], run }
