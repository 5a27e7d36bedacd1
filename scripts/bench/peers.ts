/** The programs to measure: the gateway, and alternatives from npm and Debian. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../ports.js'
import type { Chatter } from './chatter.js'
import { JsonClient } from './json-client.js'
import { MqttClient } from './mqtt-client.js'
import type { Program } from './program.js'
import { Server } from './server.js'
import { SocketIoClient } from './socketio-client.js'

/** Protocol of the two clients; `mqtt5`: MQTT 5; `json-mqtt`: the sender uses JSON, the recipient MQTT. */
export type Wire = 'json' | 'mqtt' | 'mqtt5' | 'json-mqtt'

export interface Peer {
  readonly name: string
  readonly wires: readonly Wire[]
  /** True for the gateway, with which all others are compared. */
  readonly program?: Program
  /** The reason why this machine cannot run it, if any. */
  readonly missing?: string
  /** @param dir an empty folder; for the gateway, one with accounts */
  start(dir: string): Promise<Server>
  connect(server: Server, role: 'sender' | 'recipient', wire: Wire): Chatter
}

/** Module for `node --import` that runs TypeScript. */
const TYPESCRIPT = new URL('../typescript.mjs', import.meta.url).href

const speaksMqtt = (role: 'sender' | 'recipient', wire: Wire) =>
  wire === 'json-mqtt' ? role === 'recipient' : wire !== 'json'

const versionOf = (wire: Wire): 4 | 5 => (wire === 'mqtt5' ? 5 : 4)

export const gateway = (program: Program, name = 'mumi'): Peer => ({
  name,
  program,
  wires: ['json', 'mqtt', 'mqtt5', 'json-mqtt'],
  start: dir => program.start(dir),
  connect: ({ ports }, role, wire) =>
    speaksMqtt(role, wire)
      ? new MqttClient(ports.mqtt, 'gateway', versionOf(wire))
      : new JsonClient(ports.http),
})

const relay: Peer = {
  name: 'relay',
  wires: ['json'],
  start: () => startScript('peer-relay.ts'),
  connect: ({ ports }) => new JsonClient(ports.http),
}

const socketio: Peer = {
  name: 'socketio',
  wires: ['json'],
  start: () => startScript('peer-socketio.ts'),
  connect: ({ ports }) => new SocketIoClient(ports.http),
}

const aedes: Peer = {
  name: 'aedes',
  wires: ['mqtt'],
  start: () => startScript('peer-aedes.ts'),
  connect: ({ ports }) => new MqttClient(ports.mqtt, 'plain'),
}

const MOSQUITTO = '/usr/sbin/mosquitto'

const mosquitto: Peer = {
  name: 'mosquitto',
  wires: ['mqtt', 'mqtt5'],
  ...(existsSync(MOSQUITTO) ? {} : { missing: `${MOSQUITTO} is not there: apt-get install mosquitto` }),
  start: startMosquitto,
  connect: ({ ports }, _, wire) => new MqttClient(ports.mqtt, 'plain', versionOf(wire)),
}

export const PEERS: readonly Peer[] = [relay, socketio, aedes, mosquitto]

/** A peer written in TypeScript in this folder, which prints `ready <port>`. */
function startScript(file: string): Promise<Server> {
  const script = fileURLToPath(new URL(file, import.meta.url))
  return Server.start([process.execPath, '--import', TYPESCRIPT, script], line => {
    const [, port] = /^ready (\d+)$/.exec(line) ?? []
    return port === undefined ? undefined : { http: Number(port), mqtt: Number(port) }
  })
}

async function startMosquitto(dir: string): Promise<Server> {
  const [port] = await freePorts(1)
  const file = join(dir, 'mosquitto.conf')
  const user = process.getuid?.() === 0 ? 'user root\n' : ''
  writeFileSync(
    file,
    `${user}listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n` +
      `persistence true\npersistence_location ${dir}/\nlog_dest stderr\n`,
  )
  return Server.start([MOSQUITTO, '-c', file], line =>
    line.includes('running') ? { http: port as number, mqtt: port as number } : undefined,
  )
}
