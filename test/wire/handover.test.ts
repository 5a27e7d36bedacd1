import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  type JsonClient,
  loggedIn,
  mqttClient,
  type RunningGateway,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'

const WAITING = 1000
const MORE = 500

/** Sends without waiting for each reply; resolves when all are answered 201. */
async function sendMany(sender: JsonClient, recipient: string, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n++) sender.send({ type: 'message', data: { recipient, content: String(n) } })
  for (let n = from; n < to; n++) {
    const { code } = await sender.next()
    if (code !== 201) throw new Error(`message ${n}: ${code}`)
  }
}

/** 500 a second, in small groups, while the device returns. */
async function trickle(sender: JsonClient, recipient: string): Promise<void> {
  for (let n = WAITING; n < WAITING + MORE; n += 10) {
    await sendMany(sender, recipient, n, n + 10)
    await delay(20)
  }
}

interface Got {
  readonly seq: number
  readonly content: string
}

/** 1,000 messages wait; the device returns while 500 a second more arrive. */
async function returnsWhileMoreArrive(
  t: Test,
  receive: (gateway: RunningGateway, account: TestAccount) => Promise<() => Promise<Got>>,
): Promise<void> {
  const gateway = await startGateway(t)
  const account = await register(t, gateway)
  const sender = await loggedIn(t, gateway)
  await sendMany(sender, account.id, 0, WAITING)
  const arriving = trickle(sender, account.id)
  const next = await receive(gateway, account)
  const got: Got[] = []
  while (got.length < WAITING + MORE) got.push(await next())
  await arriving
  t.strictSame(
    got.map(({ seq }) => seq),
    Array.from(got, (_, i) => i + 1),
    'strict order of seq, none missing, none twice',
  )
  t.strictSame(
    got.map(({ content }) => Number(content)),
    Array.from(got, (_, i) => i),
  )
}

t.test('JSON: a device returns to 1,000 messages while more arrive', async t => {
  await returnsWhileMoreArrive(t, async (gateway, account) => {
    const client = await loggedIn(t, gateway, account, { ack: 'ping' })
    return () => client.next<Got>()
  })
})

t.test('JSON with explicit acks: a small window does not stop the hand-over', async t => {
  await returnsWhileMoreArrive(t, async (gateway, account) => {
    const client = await loggedIn(t, gateway, account, { ack: 'explicit' })
    return async () => {
      let frame = await client.next<Got & { code?: number }>()
      while (frame.code !== undefined) frame = await client.next()
      if (frame.seq % 100 === 0) client.send({ type: 'action', action: 'ack', data: { seq: frame.seq } })
      return frame
    }
  })
})

for (const clean of [true, false]) {
  for (const qos of [0, 1, 2] as const) {
    t.test(
      `MQTT QoS ${qos}, ${clean ? 'clean' : 'persistent'}: a device returns while more arrive`,
      async t => {
        await returnsWhileMoreArrive(t, async (gateway, { id, email, password }) => {
          const options = { clientId: 'device', clean, username: email, password }
          // The device is known, and at 0: it was there before anything was sent.
          const client = await mqttClient(t, gateway, options)
          await client.mqtt.subscribeAsync(`users/${id}/inbox/#`, { qos })
          return async () => JSON.parse((await client.next()).payload)
        })
      },
    )
  }
}
