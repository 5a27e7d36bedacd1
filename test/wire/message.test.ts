import t from 'tap'
import { loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'

t.test('a message reaches its recipient with exactly the four fixed members', async t => {
  const gateway = await startGateway(t)
  const sender = await loggedIn(t, gateway)
  const recipient = await loggedIn(t, gateway)
  const reply = await sender.ask({ type: 'message', data: { recipient: recipient.userId, content: 'hello' } })
  t.strictSame(reply, { code: 201, msg: '訊息發送成功', data: null })
  const message = await recipient.next<Record<string, string>>()
  t.strictSame(Object.keys(message), ['sender', 'recipient', 'content', 'created_at'])
  t.match(message, { sender: sender.userId, recipient: recipient.userId, content: 'hello' })
  t.match(message.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
})

t.test('a message reaches an MQTT device of the recipient, and the other way round', async t => {
  const gateway = await startGateway(t)
  const json = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  const device = await mqttClient(t, gateway, { username: account.email, password: account.password })
  await device.mqtt.subscribeAsync(`users/${account.id}/inbox/#`, { qos: 1 })
  await json.ask({ type: 'message', data: { recipient: account.id, content: 'to the device' } })
  const arrived = await device.next()
  t.match(arrived, { topic: `users/${account.id}/inbox/1`, qos: 1, retain: false })
  t.match(JSON.parse(arrived.payload), { seq: 1, sender: json.userId, content: 'to the device' })
  await device.mqtt.publishAsync(`users/${json.userId}/inbox`, 'from the device', { qos: 1 })
  t.match(await json.next(), { sender: account.id, content: 'from the device' })
})
