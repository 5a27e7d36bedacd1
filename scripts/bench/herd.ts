/**
 * A process of its own for `return`: clients that all connect in the same moment and log in by token. It has a lower priority
 * than the generator, whose clock must not stop while they do.
 */
import { once } from 'node:events'
import { setPriority } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { JsonClient } from './json-client.js'
import { MqttClient } from './mqtt-client.js'

/** What it is told first; `go`, the next message, lets them run. */
export interface Herd {
  readonly wire: 'json' | 'mqtt'
  readonly port: number
  readonly members: readonly { readonly id: string; readonly token: string }[]
}

/** Its answer when all are in. */
export interface HerdIn {
  /** From `go` until each was in, ms, in ascending order. */
  readonly tookMs: readonly number[]
  /** Attempts that failed: each is made again. */
  readonly failed: number
}

/** As a client does that was refused. */
const AGAIN_MS = [500, 1500] as const

async function enter({ wire, port }: Herd, id: string, token: string): Promise<void> {
  const client = wire === 'json' ? new JsonClient(port) : new MqttClient(port, 'gateway')
  await client.open()
  if (client instanceof MqttClient) return client.enter(id, 'clean', token)
  const { code } = await client.request({ type: 'action', action: 'login', data: { token } })
  if (code !== 202) throw new Error(`login by token answered ${code}`)
}

async function run(): Promise<void> {
  setPriority(19)
  const [herd] = (await once(process, 'message')) as [Herd]
  process.send?.('ready')
  await once(process, 'message')
  const begun = performance.now()
  let failed = 0
  const tookMs = await Promise.all(
    herd.members.map(async ({ id, token }) => {
      while (
        !(await enter(herd, id, token).then(
          () => true,
          () => false,
        ))
      ) {
        failed++
        await delay(AGAIN_MS[0] + Math.random() * (AGAIN_MS[1] - AGAIN_MS[0]))
      }
      return performance.now() - begun
    }),
  )
  process.send?.({ tookMs: tookMs.sort((a, b) => a - b), failed } satisfies HerdIn)
}

await run()
