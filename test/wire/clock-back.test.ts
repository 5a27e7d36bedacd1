/** If the clock is set back over a restart, history keeps the order of sending. */
import t from 'tap'
import { loggedIn, register, startGateway } from '../helpers/gateway.js'

const HOUR_MS = 3_600_000

t.test('history after a restart with the clock an hour back', async t => {
  const { now } = Date
  let offset = 0
  Date.now = () => now() + offset
  t.teardown(() => {
    Date.now = now
  })
  const first = await startGateway(t)
  const [ann, bob] = [await register(t, first), await register(t, first)]
  let sent = 0
  let gateway = first
  for (const back of [0, HOUR_MS, 2 * HOUR_MS]) {
    offset = -back
    if (back > 0) gateway = await startGateway(t, { 'data.dir': first.dir })
    const client = await loggedIn(t, gateway, ann)
    for (let i = 0; i < 3; i++) {
      const data = { recipient: bob.id, content: `m${++sent}` }
      t.match(await client.ask({ type: 'message', data }), { code: 201 })
    }
    const { data } = await client.action('history', { with: bob.id })
    const { messages } = data as { messages: { content: string }[] }
    t.same(
      messages.map(({ content }) => content),
      Array.from({ length: sent }, (_, i) => `m${sent - i}`),
    )
    await client.close()
    await gateway.close()
  }
})
