import t from 'tap'
import { loggedIn } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { OWED, setUpSender, stored } from '../helpers/sender.js'

for (const { name, write, topic, retain } of OWED) {
  for (const qos of [1, 2] as const) {
    const cmd = qos === 1 ? 'puback' : 'pubrec'
    t.test(`QoS ${qos} to ${name}: no ${cmd} before it is stored`, async t => {
      const { gateway, account, connect } = await setUpSender(t)
      const client = await connect()
      const release = gateway.hold(write)
      client.send(
        { cmd: 'publish', topic: topic(account.id), payload: 'x', qos, retain, dup: false, messageId: 5 },
        { cmd: 'pingreq' },
      )
      await client.take('pingresp')
      t.same(client.unread, [])
      release()
      t.equal((await client.take(cmd)).messageId, 5)
    })

    t.test(`QoS ${qos} to ${name}: a store that fails means no ${cmd} and a closed connection`, async t => {
      const { gateway, account, connect } = await setUpSender(t)
      for (const code of ['STORE_UNAVAILABLE', 'STORE_FULL'] as const) {
        const client = await connect()
        const restore = gateway.fail(write, code)
        client.publish(topic(account.id), code, { qos, retain, messageId: 5 })
        await client.closed
        t.same(client.unread, [])
        restore()
        // Sent again, as a client does that has no acknowledgement.
        const again = await connect()
        again.publish(topic(account.id), code, { qos, retain, messageId: 5, dup: true })
        t.equal((await again.take(cmd)).messageId, 5)
        if (qos === 2) {
          again.ack('pubrel', 5)
          await again.take('pubcomp')
        }
        await again.disconnect()
      }
      t.same(
        await stored(t, gateway, account, write === 'append'),
        retain ? [] : ['STORE_UNAVAILABLE', 'STORE_FULL'],
      )
    })
  }
}

t.test('a store that is closed under the gateway acknowledges nothing and kills nothing', async t => {
  const { gateway, account } = await setUpSender(t)
  const client = await rawConnect(t, gateway, { account, clientId: 'sender' })
  const witness = await rawConnect(t, gateway, { account, clientId: 'witness' })
  await gateway.store.close()
  client.publish(`users/${account.id}/inbox`, 'x', { qos: 1, messageId: 5 })
  await client.closed
  t.same(client.unread, [])
  witness.send({ cmd: 'pingreq' })
  await witness.take('pingresp')
  const late = await rawConnect(t, gateway, { account, clientId: 'late' })
  t.equal(late.connack.returnCode, 3, 'server unavailable')
  const ready = await fetch(`${gateway.http}/readyz`)
  t.equal(ready.status, 503)
})

t.test('a failed append disturbs neither the other clients nor what comes after it', async t => {
  const { gateway, account, connect } = await setUpSender(t)
  const json = await loggedIn(t, gateway)
  const client = await connect()
  const restore = gateway.fail('append', 'STORE_UNAVAILABLE')
  client.publish(`users/${account.id}/inbox`, 'lost', { qos: 1, messageId: 5 })
  await client.closed
  t.match(await json.ask({ type: 'message', data: { recipient: account.id, content: 'refused' } }), {
    code: 10104,
  })
  restore()
  t.match(await json.ask({ type: 'message', data: { recipient: account.id, content: 'kept' } }), {
    code: 201,
  })
  t.same(await stored(t, gateway, account, true), ['kept'])
})

// [MQTT-4.6.0-2], [MQTT-4.6.0-3]
for (const qos of [1, 2] as const) {
  t.test(`QoS ${qos} is acknowledged in the order in which it came, whatever becomes of it`, async t => {
    const { gateway, account, connect } = await setUpSender(t)
    const client = await connect(true)
    const me = account.id
    const topics = [
      `users/${me}/inbox`,
      'users/1/nothing',
      'offline/x',
      `users/${me}/inbox`,
      'users/999999999/inbox',
    ]
    topics.push('retained/x', `users/${me}/requests`, `users/${me}/inbox`, 'nobody/x', 'offline/y')
    for (let round = 0; round < 5; round++) {
      client.send(
        ...topics.map((topic, i) => ({
          cmd: 'publish' as const,
          topic,
          payload: `${round}.${i}`,
          qos,
          dup: false,
          retain: topic.startsWith('retained'),
          messageId: round * topics.length + i + 1,
        })),
      )
    }
    const ids: number[] = []
    while (ids.length < 5 * topics.length)
      ids.push((await client.take(qos === 1 ? 'puback' : 'pubrec')).messageId)
    t.same(
      ids,
      Array.from(ids, (_, i) => i + 1),
    )
    t.same(
      await stored(t, gateway, account, true),
      [0, 1, 2, 3, 4].flatMap(round => [0, 3, 7].map(i => `${round}.${i}`)),
    )
  })
}

t.test('messages of one sender keep their order, whatever their QoS', async t => {
  const { gateway, account, connect } = await setUpSender(t)
  const client = await connect(true)
  client.send(
    ...Array.from({ length: 60 }, (_, i) => {
      const qos = (i % 3) as 0 | 1 | 2
      const id = qos > 0 ? { messageId: i + 1 } : {}
      const topic = `users/${account.id}/inbox`
      return { cmd: 'publish' as const, topic, payload: `${i}`, qos, dup: false, retain: false, ...id }
    }),
  )
  for (let i = 0; i < 40; i++) await client.next()
  t.same(
    await stored(t, gateway, account, true),
    Array.from({ length: 60 }, (_, i) => `${i}`),
  )
})
