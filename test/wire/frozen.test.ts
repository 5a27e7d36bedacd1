import t from 'tap'
import { type JsonClient, loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'

const MESSAGES = 300
/** 60 KiB each: far more than sockets' buffers and windows hold together. */
const PADDING = 'x'.repeat(60_000)

async function flood(sender: JsonClient, recipient: string): Promise<void> {
  for (let n = 0; n < MESSAGES; n++) {
    const reply = await sender.ask({ type: 'message', data: { recipient, content: `${n} ${PADDING}` } })
    if (reply.code !== 201) throw new Error(`message ${n}: ${reply.code}`)
  }
}

const numberOf = (content: string) => Number(content.split(' ', 1)[0])
const inOrder = Array.from({ length: MESSAGES }, (_, n) => n)

t.test('a frozen JSON client does not affect others, and gets everything when it reads again', async t => {
  const gateway = await startGateway(t)
  const frozen = await loggedIn(t, gateway)
  const [sender, other] = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
  frozen.ws.pause()
  await flood(sender, frozen.userId)
  await sender.ask({ type: 'message', data: { recipient: other.userId, content: 'still here' } })
  t.match(await other.next(), { content: 'still here' })
  frozen.ws.resume()
  const got: number[] = []
  while (got.length < MESSAGES) got.push(numberOf((await frozen.next<{ content: string }>()).content))
  t.strictSame(got, inOrder)
})

for (const [clean, qos] of [
  [true, 0],
  [true, 1],
  [false, 2],
] as const) {
  t.test(
    `a frozen MQTT client (QoS ${qos}) does not affect others, and gets everything when it reads again`,
    async t => {
      const gateway = await startGateway(t, { 'mqtt.maxInflight': 1000 })
      const { id, email, password } = await register(t, gateway)
      const [sender, other] = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
      const frozen = await mqttClient(t, gateway, { clientId: 'frozen', clean, username: email, password })
      await frozen.mqtt.subscribeAsync(`users/${id}/inbox/#`, { qos })
      frozen.mqtt.stream.pause()
      await flood(sender, id)
      await sender.ask({ type: 'message', data: { recipient: other.userId, content: 'still here' } })
      t.match(await other.next(), { content: 'still here' })
      frozen.mqtt.stream.resume()
      const got: number[] = []
      while (got.length < MESSAGES) got.push(numberOf(JSON.parse((await frozen.next()).payload).content))
      t.strictSame(got, inOrder)
    },
  )
}

t.test(
  'a client that reads nothing for delivery.stallTimeout is closed with 4008, and gets all messages later',
  async t => {
    const gateway = await startGateway(t, {
      'delivery.stallTimeout': '300ms',
      'heartbeat.interval': '20s',
      'heartbeat.timeout': '200ms',
    })
    const account = await register(t, gateway)
    const stalled = await loggedIn(t, gateway, account)
    const sender = await loggedIn(t, gateway)
    stalled.ws.pause()
    await flood(sender, account.id)
    // It keeps asking and never reads: alive, and stalled.
    const asking = setInterval(
      () => stalled.send({ type: 'action', action: 'query', data: { email: account.email } }),
      50,
    )
    t.teardown(() => clearInterval(asking))
    const watcher = await loggedIn(t, gateway)
    for (;;) {
      const { data } = await watcher.action('query', { id: account.id })
      if ((data as { isLogin: boolean }[])[0]?.isLogin === false) break
    }
    clearInterval(asking)
    stalled.ws.resume()
    const [code] = await stalled.closed
    t.equal(code, 4008)
    const back = await loggedIn(t, gateway, account)
    const got: number[] = []
    while (got.at(-1) !== MESSAGES - 1) got.push(numberOf((await back.next<{ content: string }>()).content))
    const seen = new Set(
      stalled.unread
        .filter(frame => frame.includes('"sender"'))
        .map(frame => numberOf(JSON.parse(frame).content)),
    )
    t.strictSame(
      [...new Set([...seen, ...got])].sort((a, b) => a - b),
      inOrder,
      'both connections together have all',
    )
  },
)
