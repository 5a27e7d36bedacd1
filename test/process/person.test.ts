/** Everything of one person: exported and deleted, by a gateway that runs and on an idle store, and what is left in the files. */
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loggedIn, register } from '../helpers/gateway.js'
import { mumi, serve } from '../helpers/program.js'
import { rawConnect } from '../helpers/raw-mqtt.js'

const parse = (text: string) =>
  text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line))

t.test('export and delete', async t => {
  const { child, ended, logged } = serve(t, [
    '--passwords.cost=4',
    '--mqtt.acl=open',
    '--sessions.multiple=allow',
    '--files.minFree=0',
  ])
  const ready = (await logged('gateway.ready')) as Record<'http' | 'mqtt', { port: number }>
  const gateway = { httpPort: ready.http.port, mqttPort: ready.mqtt.port }
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  const [asAnn, asBob] = [await loggedIn(t, gateway, ann), await loggedIn(t, gateway, bob)]
  /** @returns the answer, among the messages that are delivered */
  const send = async (from: typeof asAnn, recipient: string, content: string) => {
    from.send({ type: 'message', data: { recipient, content } })
    for (;;) {
      const { code } = await from.next()
      if (code !== undefined) return { code }
    }
  }
  t.match(await send(asAnn, bob.id, 'from ann to bob'), { code: 201 })
  t.match(await send(asBob, ann.id, 'from bob to ann'), { code: 201 })
  t.match(await send(asBob, bob.id, 'from bob to bob'), { code: 201 })
  const device = await rawConnect(t, gateway, { account: ann, clientId: 'phone', clean: false })
  await device.subscribe(['home/ann'])
  device.publish('home/kept', 'kept of ann', { qos: 1, messageId: 1, retain: true })
  await device.take('puback')
  await device.disconnect()
  const data = ['--data.dir', join(t.testdirName, 'data')]
  const photo = Buffer.from('the file of ann')
  const alone = await loggedIn(t, gateway, ann, { device: 'new' })
  const { data: announced } = await alone.action('uploadSlot', { name: 'photo.txt', size: photo.length }, 's')
  const slot = announced as { id: string; url: string; headers: Record<string, string> }
  t.equal((await fetch(slot.url, { method: 'PUT', headers: slot.headers, body: photo })).status, 201)
  const kept = () =>
    readdirSync(join(t.testdirName, 'data', 'files'), { recursive: true, encoding: 'utf8' }).filter(name =>
      name.endsWith(slot.id.slice(10)),
    )
  t.equal(kept().length, 1)

  const running = await mumi(t, ['export', '--user', ann.email, ...data]).ended
  t.match(running, { code: 0, stderr: '' })
  const entries = parse(running.stdout)
  const sections = (name: string) => entries.filter(({ section }) => section === name)
  t.match(sections('account'), [{ id: ann.id, email: ann.email }])
  t.match(sections('received'), [{ sender: bob.id, message: { content: 'from bob to ann' } }])
  t.match(sections('sent'), [{ inbox: bob.id, message: { content: 'from ann to bob' } }])
  t.equal(sections('mqtt-session').length, 1)
  t.match(sections('mqtt-subscriptions'), [{ key: [`${ann.id}:phone`, 'home/ann'] }])
  t.match(sections('mqtt-retained'), [{ key: ['home/kept'], value: { payload: btoa('kept of ann') } }])
  t.match(sections('file'), [{ id: slot.id, name: 'photo.txt', size: photo.length, path: undefined }])
  t.match(entries.at(-1), { section: 'end', entries: entries.length - 1 })
  for (const other of ['from bob to bob', bob.email, '"hash', 'passwordHash', '$2b$'])
    t.notOk(running.stdout.includes(other), `nothing of ${other}`)

  child.kill('SIGTERM')
  t.match(await ended, { code: 0 })
  const file = join(t.testdirName, 'ann.jsonl')
  t.match(await mumi(t, ['user', 'export', ann.id, file, ...data]).ended, { code: 0, stdout: '', stderr: '' })
  t.equal(statSync(file).mode & 0o077, 0)
  const same = (one: { section: string }) =>
    ['account', 'received', 'sent', 'mqtt-retained'].includes(one.section)
  t.same(parse(readFileSync(file, 'utf8')).filter(same), entries.filter(same), 'the same of an idle store')
  const [exported] = parse(readFileSync(file, 'utf8')).filter(({ section }) => section === 'file')
  t.match(exported.path, /^ann\.jsonl\.files\/.*-photo\.txt$/)
  t.ok(readFileSync(join(t.testdirName, exported.path)).equals(photo))
  t.match(await mumi(t, ['export', ann.id, file, ...data]).ended, { code: 1, stderr: /is there already/ })
  rmSync(`${file}.files`, { recursive: true })
  t.match(await mumi(t, ['export', ann.id, file, ...data]).ended, { code: 1, stderr: /EEXIST/ })
  t.match(await mumi(t, ['export', 'nobody@example.com', `${file}2`, ...data]).ended, {
    code: 1,
    stderr: /no such user/,
  })
  t.notOk(readdirSync(t.testdirName).includes('ann.jsonl2'))
  t.match(await mumi(t, ['export', ...data]).ended, { code: 2, stderr: /missing/ })

  t.match(await mumi(t, ['delete', '--user', ann.email, '--yes', ...data]).ended, {
    code: 0,
    stdout: /^deleted/,
  })
  t.same(kept(), [], 'no byte of her files')
  t.match(await mumi(t, ['compact', ...data]).ended, { code: 0 })
  t.match(await mumi(t, ['verify', ...data]).ended, { code: 0 })
  const store = join(t.testdirName, 'data', 'store')
  const bytes = readdirSync(store).map(name => readFileSync(join(store, name), 'latin1'))
  const traces = [ann.email, 'from bob to ann', 'kept of ann', 'home/ann', `${ann.id}:phone`]
  for (const trace of traces)
    t.notOk(
      bytes.some(one => one.includes(trace)),
      trace,
    )
  // What stays: it is in the inbox of another.
  t.ok(bytes.some(one => one.includes('from ann to bob')))
})
