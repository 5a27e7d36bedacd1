/** Innocent clients that stay connected all the time; the fuzzer must not affect them. */
import mqtt, { type MqttClient } from 'mqtt'
import type { WebSocket } from 'ws'
import { within } from '../within.js'
import { type Account, Fault } from './input.js'
import { PATIENCE_MS, type World } from './world.js'

/** One sender and one recipient, one message at a time. */
interface Way {
  readonly name: string
  send(content: string): void
  readonly recipient: Innocent
}

interface Innocent {
  readonly account: Account
  /** Called with the content of each message. */
  hear: (content: string) => void
}

const ROUNDS = 5

/** Registers, logs in and queries the new account. Finds resources that are used up for new clients. @throws Fault */
export async function newcomer(world: World): Promise<void> {
  try {
    const { email, password } = await world.register()
    const ws = await world.open()
    const reply = (id: string) =>
      new Promise<{ code: number }>(resolve =>
        ws.on('message', data => {
          const frame = JSON.parse(data.toString())
          if (frame.id === id) resolve(frame)
        }),
      )
    const asked = (['login', 'query'] as const).map(async action => {
      const data = action === 'login' ? { email, password } : { email }
      ws.send(JSON.stringify({ type: 'action', action, id: action, data }))
      return (await within(PATIENCE_MS, reply(action))).code
    })
    const codes = await Promise.all(asked)
    ws.terminate()
    if (codes[0] !== 202 || codes[1] !== 200) throw new Error(`answered ${codes.join(' and ')}`)
  } catch (error) {
    throw new Fault(`nobody new gets in: ${error instanceof Error ? error.message : error}`)
  }
}

export class Innocents {
  #ended: string | undefined

  private constructor(private readonly ways: readonly Way[]) {}

  static async join(world: World): Promise<Innocents> {
    const [ann, bob, cat] = await Promise.all(
      ['ann', 'bob', 'cat'].map(async () => innocent(await world.register())),
    )
    if (ann === undefined || bob === undefined || cat === undefined) throw new Error('three accounts')
    const [annWs, bobWs] = [await login(world, ann), await login(world, bob)]
    const device = await subscribe(world, cat)
    const innocents = new Innocents([
      { name: 'JSON to JSON', recipient: bob, send: content => say(annWs, bob, content) },
      { name: 'JSON to MQTT', recipient: cat, send: content => say(bobWs, cat, content) },
      {
        name: 'MQTT to JSON',
        recipient: ann,
        send: content => void device.publish(`users/${ann.account.id}/inbox`, content, { qos: 1 }),
      },
    ])
    for (const [name, client] of Object.entries({ ann: annWs, bob: bobWs, cat: device }))
      (client as WebSocket).on('close', () => innocents.#left(name))
    return innocents
  }

  #left(name: string): void {
    this.#ended ??= name
  }

  /** @returns delivery times in ms over all pairs: the median and the longest @throws Fault */
  async talk(): Promise<{ median: number; longest: number }> {
    if (this.#ended !== undefined)
      throw new Fault(`the connection of ${this.#ended}, who did nothing, was closed`)
    const taken: number[] = []
    for (let round = 0; round < ROUNDS; round++)
      for (const way of this.ways) taken.push(await time(way, round))
    taken.sort((a, b) => a - b)
    return { median: taken[taken.length >> 1] ?? 0, longest: taken.at(-1) ?? 0 }
  }
}

const innocent = (account: Account): Innocent => ({ account, hear: () => undefined })

async function time({ name, send, recipient }: Way, round: number): Promise<number> {
  const content = `are you there? ${round} ${performance.now()}`
  const begun = performance.now()
  const heard = new Promise<void>(resolve => {
    recipient.hear = one => one === content && resolve()
  })
  send(content)
  await within(PATIENCE_MS, heard).catch(() => {
    throw new Fault(`${name}: a message did not come within ${PATIENCE_MS} ms`)
  })
  return performance.now() - begun
}

async function login(world: World, who: Innocent): Promise<WebSocket> {
  const { email, password } = who.account
  const ws = await world.open()
  const isIn = new Promise<void>(resolve => {
    ws.on('message', data => {
      const { code, content } = JSON.parse(data.toString())
      if (code === 202) resolve()
      else if (content !== undefined) who.hear(content)
    })
  })
  ws.send(JSON.stringify({ type: 'action', action: 'login', data: { email, password } }))
  await within(PATIENCE_MS, isIn)
  return ws
}

const say = (ws: WebSocket, { account }: Innocent, content: string): void =>
  ws.send(JSON.stringify({ type: 'message', data: { recipient: account.id, content } }))

async function subscribe(world: World, who: Innocent): Promise<MqttClient> {
  const { id, email, password } = who.account
  const client = mqtt.connect(`mqtt://127.0.0.1:${world.ports.mqtt}`, {
    username: email,
    password,
    reconnectPeriod: 0,
  })
  client.on('error', () => undefined)
  client.on('message', (_topic, payload) => who.hear(JSON.parse(payload.toString()).content))
  await within(PATIENCE_MS, new Promise<void>(resolve => client.once('connect', () => resolve())))
  await within(PATIENCE_MS, client.subscribeAsync(`users/${id}/inbox/#`, { qos: 1 }))
  return client
}
