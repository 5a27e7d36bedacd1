/**
 * Makes the data folder that is kept of a data format (test/fixtures/folder-format-N): what a gateway of that format left when it
 * was killed, after real clients had used it. Run it with the built gateway of the version whose format it is:
 * `node --import ./scripts/typescript.mjs test/helpers/keep-folder.ts MAIN.JS FOLDER`.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import { jsonClient, loggedIn, mqttClient, register, type TestAccount } from './gateway.js'

/** Settings under which the folder is made and read: what it has must not expire in the years for which it is kept. */
export const KEPT_SETTINGS = [
  '--mqtt.acl=open',
  '--mqtt.sessionExpiry=0',
  '--devices.expiry=0',
  '--passwords.cost=4',
  '--store.durability=flush',
]

/** Unpacks one of test/fixtures. @param dir made, with its parents */
export function unpackKept(name: string, dir: string): void {
  const from = new URL(`../fixtures/${name}/`, import.meta.url)
  mkdirSync(dir, { recursive: true })
  for (const file of readdirSync(from).filter(one => one.endsWith('.gz')))
    writeFileSync(join(dir, file.slice(0, -3)), gunzipSync(readFileSync(new URL(file, from))))
}

/** What clients must find in it. */
export interface KeptFolder {
  readonly ann: TestAccount
  readonly bob: TestAccount
  /** Bob had these, and confirmed them. */
  readonly read: readonly string[]
  /** Bob was away. */
  readonly waiting: readonly string[]
  /** Bob's device, with a credential of its own; it has had nothing of the inbox yet. */
  readonly device: { readonly clientId: string; readonly password: string }
  /** A message to a topic that waits in its session. */
  readonly queued: { readonly topic: string; readonly payload: string }
  readonly retained: { readonly topic: string; readonly payload: string }
}

/** Plays the clients. @param t its teardown ends them */
async function use(t: Test, gateway: { httpPort: number; mqttPort: number }): Promise<KeptFolder> {
  const ann = await register(t, gateway, 'ann@example.com')
  const bob = await register(t, gateway, 'bob@example.com')
  const writer = await loggedIn(t, gateway, ann)
  const send = async (content: string) => {
    const { code } = await writer.ask({ type: 'message', data: { recipient: bob.id, content } })
    if (code !== 201) throw new Error(`${content}: ${code}`)
  }
  const read = ['good morning', '你好']
  for (const content of read) await send(content)
  const reader = await jsonClient(t, gateway)
  const { email, password } = bob
  reader.send({ type: 'action', action: 'login', data: { email, password, ack: 'explicit' } })
  let seq = 0
  for (let got = 0; got < read.length; ) {
    const frame = await reader.next<{ content?: string; seq?: number }>()
    if (frame.content === undefined) continue
    seq = frame.seq ?? 0
    got++
  }
  await reader.action('ack', { seq })
  const clientId = `${bob.id}.lamp`
  const minted = (await reader.action('mint', { device: clientId })).data as { password: string }
  await reader.close()
  // How far a device is is written behind; what comes now is in the journal alone when the gateway is killed.
  await delay(3000)

  const device = { clientId, password: minted.password }
  const lamp = await mqttClient(t, gateway, {
    clientId,
    username: email,
    password: device.password,
    clean: false,
  })
  await lamp.mqtt.subscribeAsync('home/#', { qos: 1 })
  await lamp.mqtt.endAsync()
  const phone = await mqttClient(t, gateway, {
    clientId: `${ann.id}.phone`,
    username: ann.email,
    password: ann.password,
  })
  const queued = { topic: 'home/light', payload: 'on' }
  const retained = { topic: 'garden/gate', payload: 'shut' }
  await phone.mqtt.publishAsync(queued.topic, queued.payload, { qos: 1 })
  await phone.mqtt.publishAsync(retained.topic, retained.payload, { qos: 1, retain: true })
  const waiting = ['where are you?', 'call me', '晚安']
  for (const content of waiting) await send(content)
  return { ann, bob, read, waiting, device, queued, retained }
}

async function keep(main: string, folder: string): Promise<void> {
  const dir = join(mkdtempSync(join(tmpdir(), 'keep-')), 'data')
  const ports = ['http', 'mqtt', 'ops'].map(name => `--${name}.port=0`)
  const args = [main, 'serve', `--data.dir=${dir}`, ...ports, ...KEPT_SETTINGS]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let port: { httpPort: number; mqttPort: number } | undefined
  for await (const line of createInterface(child.stdout)) {
    const { event, http, mqtt } = JSON.parse(line)
    if (event !== 'gateway.ready') continue
    port = { httpPort: http.port, mqttPort: mqtt.port }
    break
  }
  if (port === undefined) throw new Error('it does not start')
  const ends: (() => unknown)[] = []
  const t = { teardown: (end: () => unknown) => ends.push(end) } as unknown as Test
  const kept = await use(t, port)
  child.kill('SIGKILL')
  await once(child, 'exit')
  for (const end of ends) await end()
  mkdirSync(folder)
  writeFileSync(join(folder, 'expected.json'), `${JSON.stringify(kept, null, 2)}\n`)
  const store = join(dir, 'store')
  for (const name of readdirSync(store).filter(name => name !== 'lock.mdb'))
    writeFileSync(join(folder, `${name}.gz`), gzipSync(readFileSync(join(store, name)), { level: 9 }))
}

const [, self = '', main, folder] = process.argv
if (self.endsWith('keep-folder.ts') && main !== undefined && folder !== undefined) await keep(main, folder)
