/** Backup, restore, verify, export and delete with MongoDB, as a program: while clients send, killed, and into another store. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { jsonClient, loggedIn, mqttClient, type Reply, register } from '../helpers/gateway.js'
import { MONGODB_URL, mongoStore, skipWithoutMongo, testDatabase } from '../helpers/mongodb.js'
import { FREE_PORTS, mumi, serve } from '../helpers/program.js'

const LOOK_MS = 20

const inDatabase = (database: string) => [
  ...['--store.type', 'mongodb', '--store.mongodb.url', MONGODB_URL ?? ''],
  ...['--store.mongodb.database', database, '--store.mongodb.timeout', '20s', '--passwords.cost', '4'],
]

t.test('MongoDB', { skip: skipWithoutMongo }, async t => {
  const [database, other] = [testDatabase(t), testDatabase(t)]
  const store = inDatabase(database)
  const gateway = serve(t, [...store, '--mqtt.acl=open'])
  const data = [...store, '--data.dir', join(t.testdirName, 'data')]
  const { http, mqtt } = (await gateway.logged('gateway.ready')) as Record<'http' | 'mqtt', { port: number }>
  const ports = { httpPort: http.port, mqttPort: mqtt.port }
  const [ann, bob] = [await register(t, ports), await register(t, ports)]
  const file = join(t.testdirName, 'backup.mdb')
  const acknowledged: string[] = []
  let isOn = true
  const asAnn = await loggedIn(t, ports, ann)
  const sending = (async () => {
    for (let i = 0; isOn; i++) {
      const content = `n ${i}`
      const { code } = await asAnn.ask({ type: 'message', data: { recipient: bob.id, content } })
      if (code === 201) acknowledged.push(content)
    }
  })()
  // A reader that confirms, and devices of MQTT, whose state changes as well.
  const device = await mqttClient(t, ports, { ...account(bob), clientId: 'phone', clean: false })
  await device.mqtt.subscribeAsync('home/#', { qos: 1 })
  const publishing = (async () => {
    for (let i = 0; isOn; i++)
      await device.mqtt.publishAsync(`home/${i % 7}`, `p ${i}`, { qos: 1, retain: true })
  })()
  while (acknowledged.length < 100) await delay(LOOK_MS)

  const before = acknowledged.length
  const made = await mumi(t, ['backup', file, ...data]).ended
  t.match(made, { code: 0, stdout: /backup\.mdb: \d+ bytes in .* s$/, stderr: '' })
  t.equal(statSync(file).mode & 0o077, 0)
  t.match(await mumi(t, ['backup', file, ...data]).ended, { code: 1, stderr: /is there already/ })
  t.match(await mumi(t, ['backup', join(t.testdirName, 'no', 'b'), ...data]).ended, {
    code: 1,
    stderr: /ENOENT/,
  })
  // Who lets a busy store be copied is not asked to wait.
  while (acknowledged.length < before + 50) await delay(LOOK_MS)
  isOn = false
  await Promise.all([sending, publishing])
  await device.mqtt.endAsync()

  await t.test('export and delete by a gateway that runs', async t => {
    t.testdir()
    const exported = await mumi(t, ['export', bob.id, ...data]).ended
    t.match(exported, { code: 0, stderr: '' })
    const lines = exported.stdout.split('\n').map(line => JSON.parse(line))
    t.equal(lines.filter(({ section }) => section === 'received').length, acknowledged.length)
    t.match(lines.at(-1), { section: 'end', entries: lines.length - 1 })
    t.ok(lines.some(({ section }) => section === 'mqtt-session'))
    t.match(await mumi(t, ['delete', ann.id, '--yes', ...data]).ended, { code: 0, stdout: /^deleted/ })
  })

  gateway.child.kill('SIGTERM')
  t.match(await gateway.ended, { code: 0 })

  await t.test('verify, export and delete on an idle store', async t => {
    t.testdir()
    t.match(await mumi(t, ['verify', ...data]).ended, { code: 0, stdout: /^accounts +1$/m, stderr: '' })
    const exported = await mumi(t, ['export', bob.id, ...data]).ended
    t.match(exported, { code: 0, stderr: '' })
    t.equal(exported.stdout.includes('$2b$'), false)
    t.match(await mumi(t, ['backup', `${file}2`, ...data]).ended, { code: 0 })
    t.match(await mumi(t, ['delete', bob.id, '--yes', ...data]).ended, { code: 0 })
    t.match(await mumi(t, ['verify', '--json', ...data]).ended, { code: 0, stdout: /"accounts":0.*"rows":0/ })
  })

  await t.test('into an embedded store: whole, and nothing acknowledged before is missing', async t => {
    const embedded = ['--data.dir', join(t.testdir(), 'embedded')]
    t.match(await mumi(t, ['restore', file, ...embedded]).ended, { code: 0, stdout: /checked$/, stderr: '' })
    t.match(await mumi(t, ['verify', ...embedded]).ended, { code: 0, stdout: /^accounts +2$/m, stderr: '' })
    const second = mumi(t, ['serve', ...FREE_PORTS, ...embedded])
    const { http } = (await second.logged('gateway.ready')) as { http: { port: number } }
    const reader = await jsonClient(t, { httpPort: http.port })
    const { email, password } = bob
    reader.send({ type: 'action', action: 'login', data: { email, password, device: 'new', from: 'start' } })
    const contents: string[] = []
    while (contents.length < before) {
      const { content } = await reader.next<Reply & { content?: string }>()
      if (content !== undefined) contents.push(content)
    }
    t.same(contents, acknowledged.slice(0, before))
    second.child.kill('SIGTERM')
    t.match(await second.ended, { code: 0 })
    t.match(await mumi(t, ['verify', ...embedded]).ended, { code: 0, stderr: '' })
  })

  await t.test('into an empty database, and no other', async t => {
    const target = [...inDatabase(other), '--data.dir', join(t.testdir(), 'other')]
    writeFileSync(join(t.testdirName, 'cut'), readFileSync(file).subarray(0, 20_000))
    const cut = await mumi(t, ['restore', join(t.testdirName, 'cut'), ...target]).ended
    t.match(cut, { code: 1, stdout: '', stderr: /cut is damaged, or no backup/ })
    const done = await mumi(t, ['restore', file, ...target]).ended
    t.match(done, { code: 0, stdout: new RegExp(`^${other}: \\d+ bytes, checked$`), stderr: '' })
    t.same(readdirSync(join(t.testdirName, 'other')), [], 'no copy of the backup is left')
    t.match(await mumi(t, ['restore', file, ...target]).ended, { code: 1, stderr: /not empty/ })
    t.match(await mumi(t, ['verify', ...target]).ended, { code: 0, stdout: /^accounts +2$/m, stderr: '' })
    const again = `${file}3`
    t.match(await mumi(t, ['backup', again, ...target]).ended, { code: 0, stderr: '' })
    t.match(await mumi(t, ['user', 'list', ...target]).ended, { code: 0, stdout: new RegExp(bob.email) })
    const second = mumi(t, ['serve', ...FREE_PORTS, ...target])
    await second.logged('gateway.ready')
    second.child.kill('SIGTERM')
    t.match(await second.ended, { code: 0 })
  })

  await t.test('killed in the middle: no file, and a database that says so until it is restored', async t => {
    const target = [...inDatabase(other), '--data.dir', join(t.testdir(), 'other')]
    const killed = join(t.testdirName, 'killed')
    const backup = mumi(t, ['backup', killed, ...target])
    const parts = () => readdirSync(t.testdirName).filter(name => name.startsWith('killed'))
    while (parts().length === 0) await delay(1)
    backup.child.kill('SIGKILL')
    await backup.ended
    t.notOk(existsSync(killed))
    const name = testDatabase(t)
    const third = [
      ...inDatabase(name),
      '--store.mongodb.gateway',
      'third',
      '--data.dir',
      join(t.testdirName, 'third'),
    ]
    // At whatever point the kill comes, and at one that is certain.
    const restore = mumi(t, ['restore', file, ...third])
    while (!existsSync(join(t.testdirName, 'third'))) await delay(1)
    restore.child.kill('SIGKILL')
    await restore.ended
    const begun = mongoStore(name, { gateway: 'third' })
    await begun.open()
    const note = Buffer.from(JSON.stringify({ section: 0 }))
    await begun.kv.kvWrite([{ put: 'meta', key: ['copy'], value: note }])
    await begun.close()
    for (const command of [['serve', ...FREE_PORTS], ['user', 'list'], ['verify'], ['backup', killed]])
      t.match(await mumi(t, [...command, ...third]).ended, {
        code: 1,
        stderr: /did not end: run the same command again/,
      })
    t.match(await mumi(t, ['restore', file, ...third]).ended, { code: 0, stderr: '' })
    t.match(await mumi(t, ['verify', ...third]).ended, { code: 0, stdout: /^accounts +2$/m, stderr: '' })
  })
})

function account({ email, password }: { email: string; password: string }) {
  return { username: email, password }
}
