/** An MQTT 5 client that sends, acknowledges and reads only what the test asks for; and the bytes of packets by hand. */
import type { IConnectPacket, IPublishPacket, ISubscription, Packet } from 'mqtt-packet'
import type { Test } from 'tap'
import { startGateway, type TestAccount } from './gateway.js'
import { type RawMqtt, rawSocket } from './raw-mqtt.js'

/** A received packet. mqtt-packet's types lack what version 5 adds, so a test reads it as it is. */
export type Packet5 = Record<string, unknown> & {
  readonly cmd: Packet['cmd']
  readonly reasonCode: number
  readonly messageId: number
  readonly topic: string
  readonly payload: Buffer
  readonly properties?: Record<string, unknown>
  readonly granted: number[]
}

export interface Connect5 extends Partial<Omit<IConnectPacket, 'cmd' | 'properties' | 'will'>> {
  readonly account?: TestAccount
  readonly properties?: Record<string, unknown>
  readonly will?: Record<string, unknown>
}

/** Topics without accounts. Each test uses a tree of its own. */
export const plainBroker = (t: Test, settings: Record<string, unknown> = {}) =>
  startGateway(t, { 'mqtt.acl': 'open', 'mqtt.anonymous': true, ...settings })

let names = 0
/** A topic tree, or a client identifier, that no other test uses. */
export const unique = (what = 'tree'): string => `${what}${process.pid}-${++names}`

/** A test that waits in vain ends, and says for what. */
async function soon<T>(wanted: Promise<T>, orElse: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(orElse)), 15_000)
  })
  return Promise.race([wanted, late]).finally(() => clearTimeout(timer))
}

export class Raw5 {
  /** In the CONNACK; the first packet from the server. */
  connack: Packet5 = {} as Packet5

  constructor(readonly raw: RawMqtt) {}

  get closed(): Promise<void> {
    return soon(this.raw.closed, 'the connection is not closed')
  }

  send(...packets: (object | Uint8Array)[]): void {
    this.raw.send(...(packets as Packet[]))
  }

  async next(): Promise<Packet5> {
    return (await soon(this.raw.next(), 'no packet comes')) as unknown as Packet5
  }

  async take(cmd: Packet['cmd']): Promise<Packet5> {
    return (await soon(this.raw.take(cmd), `no ${cmd} comes`)) as unknown as Packet5
  }

  /** Takes this many PUBLISHes, which must be the next packets. */
  async takeAll(count: number): Promise<Packet5[]> {
    const all: Packet5[] = []
    while (all.length < count) all.push(await this.take('publish'))
    return all
  }

  /** The server says why, and closes. @returns the reason code of its DISCONNECT */
  async dismissed(): Promise<number> {
    const { reasonCode } = await this.take('disconnect')
    await this.closed
    return reasonCode
  }

  async subscribe(
    topics: string | readonly (Partial<ISubscription> & { topic: string })[],
    properties?: Record<string, unknown>,
  ): Promise<Packet5> {
    const all = typeof topics === 'string' ? [{ topic: topics }] : topics
    const subscriptions = all.map(one => ({ qos: 2, nl: false, rap: false, rh: 0, ...one }))
    this.send({ cmd: 'subscribe', messageId: 77, subscriptions, properties })
    return this.take('suback')
  }

  async unsubscribe(...unsubscriptions: string[]): Promise<Packet5> {
    this.send({ cmd: 'unsubscribe', messageId: 78, unsubscriptions })
    return this.take('unsuback')
  }

  /** Sends a PUBLISH, by default at QoS 0 and without properties. */
  publish(
    topic: string,
    payload: string | Buffer,
    options: Partial<Omit<IPublishPacket, 'properties'>> & { properties?: Record<string, unknown> } = {},
  ): void {
    this.send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false, ...options })
  }

  /** Publishes at QoS 1 and takes the PUBACK, which must be the next packet. */
  async publish1(
    topic: string,
    payload: string | Buffer,
    options: Parameters<Raw5['publish']>[2] = {},
  ): Promise<Packet5> {
    this.publish(topic, payload, { qos: 1, messageId: 1, ...options })
    return this.take('puback')
  }

  /** Publishes at any QoS, and sees it through; nothing else may come meanwhile. */
  async publishAt(
    qos: 0 | 1 | 2,
    topic: string,
    payload: string | Buffer,
    options: Parameters<Raw5['publish']>[2] = {},
  ): Promise<void> {
    this.publish(topic, payload, { messageId: 2, ...options, qos })
    if (qos === 1) await this.take('puback')
    if (qos < 2) return
    const { messageId } = await this.take('pubrec')
    this.ack('pubrel', messageId)
    await this.take('pubcomp')
  }

  ack(cmd: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp', messageId: number, reasonCode = 0): void {
    this.send({ cmd, messageId, reasonCode })
  }

  /**
   * All that was sent before has been handled, and what the server had to say of it is here: not what it has to read from
   * the store first (retained messages, queues, the inbox).
   */
  async settled(): Promise<Packet5[]> {
    this.send({ cmd: 'pingreq' })
    const before: Packet5[] = []
    for (let packet = await this.next(); packet.cmd !== 'pingresp'; packet = await this.next())
      before.push(packet)
    return before
  }

  async drop(): Promise<void> {
    await this.raw.drop()
  }

  async disconnect(options: Record<string, unknown> = {}): Promise<void> {
    this.send({ cmd: 'disconnect', reasonCode: 0, ...options })
    await this.closed
  }
}

/** Opens a TCP connection on which nothing was sent. */
export const socket5 = async (t: Test, gateway: { mqttPort: number }): Promise<Raw5> =>
  new Raw5(await rawSocket(t, gateway, 5))

/** Sends CONNECT and takes the CONNACK, whatever it says. */
export async function connect5(
  t: Test,
  gateway: { mqttPort: number },
  { account, ...options }: Connect5 = {},
): Promise<Raw5> {
  const client = await socket5(t, gateway)
  const login = account && { username: account.email, password: Buffer.from(account.password) }
  const { clientId = unique('client') } = options
  client.send({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 5,
    clean: true,
    keepalive: 0,
    ...login,
    ...options,
    clientId,
  })
  client.connack = await client.take('connack')
  return client
}

/** Resolves when so many whole seconds have passed, as a server tells: a will that it delays by them is published. */
export async function elapsed(t: Test, gateway: { mqttPort: number }, seconds: number): Promise<void> {
  const topic = unique('clock')
  const watcher = await connect5(t, gateway)
  await watcher.subscribe(topic)
  const properties = { willDelayInterval: seconds }
  const client = await connect5(t, gateway, {
    properties: { sessionExpiryInterval: 3600 },
    will: { topic, payload: 'x', qos: 1, retain: false, properties },
  })
  await client.drop()
  await watcher.take('publish')
}

/** Bytes in a row. */
export const bytes = (...parts: (number | string | Uint8Array)[]): Buffer =>
  Buffer.concat(parts.map(one => (typeof one === 'number' ? Buffer.of(one) : Buffer.from(one))))

/** Text or data behind its length. */
export const field = (data: string | Uint8Array): Buffer =>
  bytes(Buffer.byteLength(data) >> 8, Buffer.byteLength(data) & 0xff, data)

/** A block of properties behind its length, below 128 bytes. */
export const block = (...parts: (number | string | Uint8Array)[]): Buffer => {
  const all = bytes(...parts)
  return bytes(all.length, all)
}

/** A packet by hand, below 16384 bytes. */
export const packet = (first: number, ...parts: (number | string | Uint8Array)[]): Buffer => {
  const all = bytes(...parts)
  const { length } = all
  return length < 128 ? bytes(first, length, all) : bytes(first, (length & 0x7f) | 0x80, length >> 7, all)
}

/** CONNECT by hand: flags, then properties and payload. */
export const connectBytes = (flags: number, ...parts: (number | string | Uint8Array)[]): Buffer =>
  packet(0x10, field('MQTT'), 5, flags, 0, 0, ...parts)
