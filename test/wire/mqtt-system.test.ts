/** What an admin reads of the broker's counts, in both versions. */
import t from 'tap'
import { dataDir, register, startGateway } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'

t.test('an admin gets the counts at once, retained; nobody else does', async t => {
  const dir = dataDir(t)
  const before = await startGateway(t, { 'data.dir': dir })
  const admin = await register(t, before)
  const user = await register(t, before)
  await before.close()
  const gateway = await startGateway(t, { 'data.dir': dir, 'mqtt.acl': 'open', 'roles.admins': admin.id })
  const login = ({ id, password }: typeof admin) => ({ username: id, password: Buffer.from(password) })
  const reader = await rawConnect(t, gateway, { clientId: 'reader', ...login(admin) })
  t.same(await reader.subscribe('$SYS/broker/clients/connected', 1), [1])
  t.match(await reader.take('publish'), {
    topic: '$SYS/broker/clients/connected',
    payload: Buffer.from('1'),
    retain: true,
    qos: 0,
  })
  const kept = await rawConnect(t, gateway, { clientId: 'kept', clean: false, ...login(user) })
  t.same(await kept.subscribe('$SYS/#', 0), [0x80])
  await kept.subscribe('a/b', 1)
  await kept.disconnect()
  await reader.subscribe('$SYS/broker/+/+', 0)
  const found = new Map<string, string>()
  while (found.size < 8) {
    const { topic, payload } = await reader.take('publish')
    found.set(topic.slice('$SYS/broker/'.length), payload.toString())
  }
  t.match(Object.fromEntries(found), {
    'clients/disconnected': '1',
    'clients/total': '2',
    'clients/maximum': '2',
    'subscriptions/count': '3',
  })
})
