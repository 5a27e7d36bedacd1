/** An MQTT client for protocol violations: it sends, acknowledges and reads only what the test asks for. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import mqttPacket, {
  type IConnackPacket,
  type IConnectPacket,
  type IPublishPacket,
  type Packet,
} from 'mqtt-packet'
import type { Test } from 'tap'
import type { TestAccount } from './gateway.js'

type Received<C extends Packet['cmd']> = Extract<Packet, { cmd: C }> & { messageId: number }

/** @template S a TCP socket, or any stream that leads to the broker */
export class RawMqtt<S extends Duplex = Socket> {
  /** Packets received and not yet taken, in the order of arrival. */
  readonly unread: Packet[] = []
  readonly closed: Promise<void>
  readonly #waiting: { resolve: (packet: Packet) => void; reject: (error: Error) => void }[] = []
  #isClosed = false

  /** @param protocolVersion whose packets are sent and read */
  constructor(
    readonly socket: S,
    private readonly protocolVersion: 4 | 5 = 4,
  ) {
    const parser = mqttPacket.parser({ protocolVersion })
    parser.on('packet', packet => {
      const waiting = this.#waiting.shift()
      if (waiting) waiting.resolve(packet)
      else this.unread.push(packet)
    })
    socket.on('error', () => undefined)
    socket.on('data', bytes => parser.parse(bytes))
    this.closed = new Promise(resolve => {
      socket.on('close', () => {
        this.#isClosed = true
        for (const { reject } of this.#waiting.splice(0)) reject(new Error('connection closed'))
        resolve()
      })
    })
  }

  /** The next packet of any type. Rejects if the connection is closed and all packets were taken. */
  async next(): Promise<Packet> {
    const packet = this.unread.shift()
    if (packet !== undefined) return packet
    if (this.#isClosed) throw new Error('connection closed')
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  /** The next packet, which must be of this type. */
  async take<C extends Packet['cmd']>(cmd: C): Promise<Received<C>> {
    const packet = await this.next()
    if (packet.cmd !== cmd) throw new Error(`${cmd} expected, got ${JSON.stringify(packet)}`)
    return packet as Received<C>
  }

  /** Sends all packets in one write. */
  send(...packets: (Packet | Uint8Array)[]): void {
    const { protocolVersion } = this
    const bytesOf = (one: Packet | Uint8Array) =>
      'cmd' in one ? mqttPacket.generate(one, { protocolVersion }) : one
    this.socket.write(Buffer.concat(packets.map(bytesOf)))
  }

  publish(topic: string, payload: string | Buffer, options: Partial<IPublishPacket> = {}): void {
    this.send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false, ...options })
  }

  ack(cmd: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp', messageId: number): void {
    this.send({ cmd, messageId })
  }

  /** Subscribes and takes the SUBACK, which must be the next packet. @returns its return codes */
  async subscribe(topic: string | readonly string[], qos: 0 | 1 | 2 = 1): Promise<unknown> {
    const subscriptions = [topic].flat().map(one => ({ topic: one, qos }))
    this.send({ cmd: 'subscribe', messageId: 1, subscriptions })
    return (await this.take('suback')).granted
  }

  /** The connection ends without DISCONNECT. */
  async drop(): Promise<void> {
    this.socket.destroy()
    await this.closed
  }

  async disconnect(): Promise<void> {
    this.send({ cmd: 'disconnect' })
    await this.closed
  }
}

/** Opens a TCP connection on which nothing was sent. */
export async function rawSocket(
  t: Test,
  { mqttPort }: { mqttPort: number },
  protocolVersion: 4 | 5 = 4,
): Promise<RawMqtt> {
  const socket = connect(mqttPort, '127.0.0.1')
  const client = new RawMqtt(socket, protocolVersion)
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return client
}

/** Sends CONNECT and takes the CONNACK with any return code. */
export async function rawConnect(
  t: Test,
  gateway: { mqttPort: number },
  options: Partial<IConnectPacket> & { account?: TestAccount } = {},
): Promise<RawMqtt & { connack: IConnackPacket }> {
  const { account, ...connect } = options
  const client = await rawSocket(t, gateway)
  const login = account && { username: account.email, password: Buffer.from(account.password) }
  client.send({ cmd: 'connect', clientId: 'raw', clean: true, keepalive: 0, ...login, ...connect })
  return Object.assign(client, { connack: await client.take('connack') })
}
