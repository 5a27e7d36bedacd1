/** A row of a stored queue that was damaged: it is named, and its client gets the others. */
import { join } from 'node:path'
import t from 'tap'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import type { KvKey } from '../../src/store/store.js'
import { mqttClient, register } from '../helpers/gateway.js'
import { FREE_PORTS, mumi } from '../helpers/program.js'

t.setTimeout(120_000)

t.test('a damaged row is named in the log and by verify, and the client gets on with the others', async t => {
  const data = `--data.dir=${join(t.testdir(), 'data')}`
  const start = async () => {
    const program = mumi(t, ['serve', ...FREE_PORTS, '--mqtt.acl=open', '--passwords.cost=4', data])
    const { http, mqtt } = (await program.logged('gateway.ready')) as Record<
      'http' | 'mqtt',
      { port: number }
    >
    const stop = async () => {
      program.child.kill('SIGTERM')
      t.match(await program.ended, { code: 0 })
    }
    return { ...program, httpPort: http.port, mqttPort: mqtt.port, stop }
  }
  const first = await start()
  const { id, email, password } = await register(t, first)
  const lamp = { clientId: `${id}.lamp`, username: email, password, clean: false }
  const before = await mqttClient(t, first, lamp)
  await before.mqtt.subscribeAsync('home/#', { qos: 2 })
  await before.mqtt.endAsync()
  const sender = await mqttClient(t, first, { clientId: `${id}.phone`, username: email, password })
  for (const payload of ['one', 'two', 'three'])
    await sender.mqtt.publishAsync('home/light', payload, { qos: 1 })
  await sender.mqtt.endAsync()
  await first.stop()

  const store = new EmbeddedStore({
    ...{ dir: join(t.testdirName, 'data/store'), durability: 'flush', dedupWindowMs: 1000 },
  })
  await store.open()
  const keys: KvKey[] = []
  for await (const { key } of store.kv.kvRange('queue', [])) keys.push(key)
  t.equal(keys.length, 3)
  const queueKey = keys[1] ?? []
  const value = Buffer.from([1, 0, 0, 0, 0, 0, 6, ...Buffer.from('secret')])
  await store.kv.kvWrite([{ put: 'queue', key: queueKey, value }])
  await store.close()

  const verified = await mumi(t, ['verify', data]).ended
  t.equal(verified.code, 1)
  t.match(verified.stdout + verified.stderr, `queue: the row ${JSON.stringify(queueKey)} cannot be read`)

  const second = await start()
  const after = await mqttClient(t, second, lamp)
  t.same([(await after.next()).payload, (await after.next()).payload], ['one', 'three'])
  const said = await second.logged('store.row-damaged')
  t.match(said, {
    level: 'error',
    collection: 'queue',
    key: queueKey,
    session: queueKey[0],
    msg: /mumi verify/,
  })
  t.notMatch(JSON.stringify(said), 'secret')
  await second.stop()
})
