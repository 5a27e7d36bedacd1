/** Data folders of each data format, as real clients and a kill of that version's gateway left them: today's serves them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DATA_FORMAT } from '../../src/store/upgrade.js'
import { jsonClient, mqttClient, type Reply } from '../helpers/gateway.js'
import { KEPT_SETTINGS, type KeptFolder, unpackKept } from '../helpers/keep-folder.js'
import { FREE_PORTS, mumi } from '../helpers/program.js'

t.setTimeout(120_000)

const FIXTURES = new URL('../fixtures/', import.meta.url)
const numbers = readdirSync(FIXTURES)
  .map(name => Number(/^folder-format-(\d+)$/.exec(name)?.[1]))
  .filter(number => number > 0)

type Frame = Reply & { readonly content?: string }

/** Contents that come to Bob until there are as many. */
async function delivered(client: Awaited<ReturnType<typeof jsonClient>>, count: number) {
  const contents: string[] = []
  while (contents.length < count) {
    const { content } = await client.next<Frame>()
    if (content !== undefined) contents.push(content)
  }
  return contents
}

async function bobs(t: Test, gateway: { httpPort: number }, { bob }: KeptFolder, options: object) {
  const client = await jsonClient(t, gateway)
  const { email, password } = bob
  client.send({ type: 'action', action: 'login', data: { email, password, ack: 'explicit', ...options } })
  return client
}

t.test('there is one of each format', async t => {
  t.same(
    numbers.sort(),
    Array.from({ length: DATA_FORMAT }, (_, i) => i + 1),
  )
})

for (const number of numbers)
  t.test(`a folder of format ${number} is served: people log in, and what waited for them comes`, async t => {
    const kept: KeptFolder = JSON.parse(
      readFileSync(new URL(`folder-format-${number}/expected.json`, FIXTURES), 'utf8'),
    )
    const dir = join(t.testdir(), 'data')
    unpackKept(`folder-format-${number}`, join(dir, 'store'))
    const data = `--data.dir=${dir}`
    t.match(await mumi(t, ['check', data]).ended, { code: 0 }, 'check takes it as it is')
    const program = mumi(t, ['serve', ...FREE_PORTS, data, ...KEPT_SETTINGS])
    const { http, mqtt } = (await program.logged('gateway.ready')) as Record<
      'http' | 'mqtt',
      { port: number }
    >
    const gateway = { httpPort: http.port, mqttPort: mqtt.port }

    const bob = await bobs(t, gateway, kept, {})
    t.same(await delivered(bob, kept.waiting.length), kept.waiting, 'in order, and none that he had')
    const history = await bob.action('history', { with: kept.ann.id })
    t.match(JSON.stringify(history.data), kept.read[1] ?? '', 'he finds what he had')
    const ann = await jsonClient(t, gateway)
    const { email, password } = kept.ann
    t.match(await ann.action('login', { email, password }), { code: 202 })
    const sent = { type: 'message', data: { recipient: kept.bob.id, content: 'after the upgrade' } }
    t.match(await ann.ask(sent), { code: 201 })
    t.same(await delivered(bob, 1), ['after the upgrade'])
    const all = [...kept.read, ...kept.waiting, 'after the upgrade']
    await bob.close()
    const anew = await bobs(t, gateway, kept, { device: 'new', from: 'start' })
    t.same(await delivered(anew, all.length), all)

    const { clientId, password: credential } = kept.device
    const lamp = await mqttClient(t, gateway, {
      ...{ clientId, username: kept.bob.email, password: credential, clean: false },
    })
    t.ok(lamp.sessionPresent, 'the session of the device is there')
    t.match(await lamp.next(), kept.queued, 'with what was published meanwhile')
    await lamp.mqtt.subscribeAsync('garden/#')
    t.match(await lamp.next(), { ...kept.retained, retain: true })

    if (number < DATA_FORMAT) {
      const { from, to, backup } = await program.logged('store.upgrading')
      t.same([from, to], [number, DATA_FORMAT])
      t.ok(existsSync(String(backup)), 'a backup was made first')
    }
    program.child.kill('SIGTERM')
    t.match(await program.ended, { code: 0, stderr: '' })
    t.match(await mumi(t, ['verify', data]).ended, { code: 0 })
  })
