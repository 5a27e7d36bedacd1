/** Starts a whole gateway on free ports and an empty folder, and real clients for it; each ends with its test. */
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import type { Test } from 'tap'
import { type ClientOptions, WebSocket } from 'ws'
import { Gateway, type Ports } from '../../src/app/gateway.js'
import { loadConfig } from '../../src/config/config.js'
import { createLogger } from '../../src/core/log.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import type { Store } from '../../src/store/store.js'
import { MONGODB_URL, mongoStore, TEST_STORE, testDatabase } from './mongodb.js'

export interface RunningGateway {
  readonly gateway: Gateway
  readonly dir: string
  readonly http: string
  readonly httpPort: number
  readonly mqttPort: number
  /** 0 if `ops.enabled` is false. */
  readonly opsPort: number
  /** 0 unless `admin.http` is true. */
  readonly adminPort: number
  /** 0 without TLS. */
  readonly mqttsPort: number
  /** Log lines written so far. */
  readonly logs: readonly Record<string, unknown>[]
  /** Resolves when a line with this event is in the log. */
  readonly logged: (event: string) => Promise<void>
  close(): Promise<void>
}

/** Test settings: cheap passwords, free ports, uncached metrics on the HTTP port; everything else is the default. */
const TEST_DEFAULTS = {
  'http.port': 0,
  'mqtt.port': 0,
  'mqtts.port': 0,
  'ops.port': 0,
  'admin.port': 0,
  'metrics.public': true,
  'metrics.cache': 0,
  'passwords.cost': 4,
  'log.level': 'debug',
  // Tests look for each line, so repeats must not be combined.
  'log.repeatWindow': 0,
}

/**
 * A temporary folder outside the project, without a dot in its name, since lmdb takes a path with a dot for a file. The
 * test's teardown removes it, and on MongoDB the database of the same name.
 */
export function dataDir(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'mumi-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  if (TEST_STORE === 'mongodb') testDatabase(t, basename(dir))
  return dir
}

/** Config keys of the store for `dataDir`. */
export const storeSettings = (dir: string) =>
  TEST_STORE === 'mongodb' && {
    'store.type': 'mongodb',
    'store.mongodb.url': MONGODB_URL,
    'store.mongodb.database': basename(dir),
    'store.mongodb.timeout': '20s',
  }

/** The store of `dataDir`, to be opened while no gateway has it. */
export const storeOf = (dir: string): Store =>
  TEST_STORE === 'mongodb'
    ? mongoStore(basename(dir))
    : new EmbeddedStore({ dir: join(dir, 'store'), durability: 'commit', dedupWindowMs: 0 })

/** @param settings config keys, `{ 'heartbeat.interval': '1s' }`; give `data.dir` to start again on the same data */
export async function startGateway(t: Test, settings: Record<string, unknown> = {}): Promise<RunningGateway> {
  const dir = String(settings['data.dir'] ?? dataDir(t))
  const all: Record<string, unknown> = {
    ...TEST_DEFAULTS,
    ...storeSettings(dir),
    'data.dir': dir,
    ...settings,
  }
  const argv = Object.entries(all).map(
    ([key, value]) => `--${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const logs: Record<string, unknown>[] = []
  const lines = new EventEmitter()
  const config = loadConfig({ argv, env: {} })
  const log = createLogger(config.log, {
    write: line => {
      logs.push(JSON.parse(line))
      lines.emit('line')
    },
  })
  const logged = async (event: string) => {
    while (!logs.some(line => line.event === event)) await once(lines, 'line')
  }
  const gateway: Gateway = new Gateway(config, log, {
    load: () => loadConfig({ argv, env: {}, isRunning: true }),
    leave: () => void gateway.drain().then(() => gateway.close()),
  })
  const ports: Ports = await gateway.start()
  t.teardown(() => gateway.close())
  return {
    gateway,
    logs,
    logged,
    dir,
    http: `http://127.0.0.1:${ports.http?.port}`,
    httpPort: ports.http?.port ?? 0,
    mqttPort: ports.mqtt?.port ?? 0,
    opsPort: ports.metrics?.port ?? 0,
    adminPort: ports.admin?.port ?? 0,
    mqttsPort: ports.mqtts?.port ?? 0,
    close: () => gateway.close(),
  }
}

export interface Reply {
  readonly code: number
  readonly msg: string
  readonly data: unknown
  readonly id?: string
}

/** A JSON client on a real socket. `next` resolves with the messages in the order of arrival. */
export class JsonClient {
  readonly #frames: string[] = []
  readonly #waiting: ((frame: string) => void)[] = []
  /** Resolves with [code, reason] when the socket closes. */
  readonly closed: Promise<[number, string]>
  userId = ''

  constructor(readonly ws: WebSocket) {
    this.closed = new Promise(resolve => ws.on('close', (code, reason) => resolve([code, reason.toString()])))
    ws.on('error', () => undefined)
    ws.on('message', data => {
      const frame = data.toString()
      const waiting = this.#waiting.shift()
      if (waiting) waiting(frame)
      else this.#frames.push(frame)
    })
  }

  /** Messages received and not yet taken. */
  get unread(): readonly string[] {
    return this.#frames
  }

  async nextText(): Promise<string> {
    return this.#frames.shift() ?? new Promise(resolve => this.#waiting.push(resolve))
  }

  async next<T = Reply>(): Promise<T> {
    return JSON.parse(await this.nextText())
  }

  send(request: unknown): void {
    this.ws.send(typeof request === 'string' ? request : JSON.stringify(request))
  }

  /** Sends a request and takes the next message as the reply; nothing else may be in flight. */
  async ask(request: unknown): Promise<Reply> {
    this.send(request)
    return this.next()
  }

  async action(action: string, data?: unknown, id?: string): Promise<Reply> {
    return this.ask({ type: 'action', action, data, id })
  }

  async close(): Promise<void> {
    this.ws.close()
    await this.closed
  }
}

/** @returns how often a limit was reached, by its config key */
export async function limited({ http }: { http: string }, limit: string): Promise<number> {
  const text = await (await fetch(`${http}/metrics`)).text()
  return Number(text.split(`mumi_limited_total{limit="${limit}"} `)[1]?.split('\n', 1)[0] ?? 0)
}

/** Connects and reads the greeting. */
export async function jsonClient(
  t: Test,
  { httpPort }: { httpPort: number },
  path = '/',
  options?: ClientOptions,
): Promise<JsonClient> {
  const ws = new WebSocket(`ws://127.0.0.1:${httpPort}${path}`, options)
  const client = new JsonClient(ws)
  t.teardown(() => ws.terminate())
  await once(ws, 'open')
  await client.nextText()
  return client
}

let accounts = 0

export interface TestAccount {
  readonly email: string
  readonly password: string
  readonly id: string
}

/** Registers an account on a separate connection. */
export async function register(t: Test, gateway: { httpPort: number }, email?: string): Promise<TestAccount> {
  const client = await jsonClient(t, gateway)
  const account = { email: email ?? `user${++accounts}@example.com`, password: 'correct horse' }
  const reply = await client.ask({
    type: 'action',
    action: 'register',
    id: 'r',
    data: { ...account, firstName: 'First', lastName: 'Last' },
  })
  if (reply.code !== 203) throw new Error(`register: ${JSON.stringify(reply)}`)
  await client.close()
  return { ...account, id: (reply.data as { id: string }).id }
}

/** @returns a logged-in connection, by default of a new account */
export async function loggedIn(
  t: Test,
  gateway: { httpPort: number },
  account?: TestAccount,
  options: Record<string, unknown> = {},
): Promise<JsonClient> {
  const { email, password, id } = account ?? (await register(t, gateway))
  const client = await jsonClient(t, gateway)
  const reply = await client.action('login', { email, password, ...options })
  if (reply.code !== 202) throw new Error(`login: ${JSON.stringify(reply)}`)
  client.userId = id
  return client
}

export interface MqttMessage {
  readonly topic: string
  readonly payload: string
  readonly qos: number
  readonly retain: boolean
  readonly dup: boolean
}

/** An MQTT client on a real socket that does not reconnect. `next` resolves with PUBLISH packets in the order of arrival. */
export class MqttTestClient {
  readonly messages: MqttMessage[] = []
  readonly #waiting: ((message: MqttMessage) => void)[] = []
  sessionPresent = false

  constructor(readonly mqtt: MqttClient) {
    mqtt.on('error', () => undefined)
    mqtt.on('message', (topic, payload, { qos, retain, dup }) => {
      const message = { topic, payload: payload.toString(), qos, retain, dup }
      const waiting = this.#waiting.shift()
      if (waiting) waiting(message)
      else this.messages.push(message)
    })
  }

  async next(): Promise<MqttMessage> {
    return this.messages.shift() ?? new Promise(resolve => this.#waiting.push(resolve))
  }
}

/** Connects; rejects if CONNACK refuses. */
export async function mqttClient(
  t: Test,
  { mqttPort }: { mqttPort: number },
  options: IClientOptions & { url?: string } = {},
): Promise<MqttTestClient> {
  const { url = `mqtt://127.0.0.1:${mqttPort}`, ...rest } = options
  const raw = mqtt.connect(url, { reconnectPeriod: 0, protocolVersion: 4, ...rest })
  const client = new MqttTestClient(raw)
  t.teardown(() => raw.endAsync(true).catch(() => undefined))
  await new Promise<void>((resolve, reject) => {
    raw.once('connect', packet => {
      client.sessionPresent = packet.sessionPresent
      resolve()
    })
    raw.once('error', reject)
    raw.once('close', () => reject(new Error('closed before CONNACK')))
  })
  return client
}
