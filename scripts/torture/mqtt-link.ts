/** One MQTT connection: reads and writes packets and decides on each acknowledgement. */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import mqttPacket, { type IPublishPacket, type Packet } from 'mqtt-packet'
import type { Client, Link } from './client.js'
import type { InboxMessage, MqttRole, MqttSession } from './mqtt-session.js'
import type { Outgoing } from './outbox.js'

const CLOSE_TIMEOUT_MS = 3000
const ABANDONED_MS = 5000

/** As long as the server keeps any session. */
const NEVER = 0xffff_ffff

type Answer = 'connack' | 'suback'

/** The client that owns the connection. */
export interface LinkOwner extends Pick<Client, 'device' | 'outbox'> {
  readonly clientId: string
  readonly role: MqttRole
  readonly session: MqttSession
  readonly credentials: { readonly username: string; readonly password: Buffer }
  /** Delay of the answer to a packet, ms. */
  readonly ackDelayMs: number
  /** Whether the connection ends with RST, if the transport supports it. */
  readonly wantsReset: boolean
  /** Of the next connection. */
  readonly version: 4 | 5
  /** Of MQTT 5: packets that the client takes without having acknowledged them. */
  readonly receiveMaximum: number
  received(message: InboxMessage): void
  /** The server did what it must not do. */
  wronged(how: string): void
}

export class MqttLink implements Link {
  readonly closed: Promise<void>
  readonly #version: 4 | 5
  readonly #receiveMaximum: number
  /** Packet ids of what came and is not acknowledged. */
  readonly #unacknowledged = new Set<number>()
  readonly #parser: ReturnType<typeof mqttPacket.parser>
  readonly #awaited = new Map<Answer, (packet: Packet) => void>()
  #end: () => void = () => undefined
  readonly #ackDelayMs: number
  #isOver = false

  constructor(
    private readonly stream: Duplex,
    private readonly client: LinkOwner,
  ) {
    this.closed = new Promise(resolve => {
      this.#end = resolve
    })
    this.#ackDelayMs = client.ackDelayMs
    this.#version = client.version
    this.#receiveMaximum = this.#version === 5 ? client.receiveMaximum : Number.POSITIVE_INFINITY
    this.#parser = mqttPacket.parser({ protocolVersion: this.#version })
    client.device.beginDelivery()
    this.#parser.on('packet', packet => this.#isOver || this.#take(packet))
    this.#parser.on('error', () => this.cut())
    stream.on('data', chunk => this.#parser.parse(chunk))
    for (const event of ['error', 'end', 'close']) stream.on(event, () => this.cut())
  }

  /** @returns session present @throws Error if the server refuses CONNECT */
  async connect(): Promise<boolean> {
    const { clientId, role, credentials } = this.client
    const properties = {
      sessionExpiryInterval: role.clean ? 0 : NEVER,
      receiveMaximum: this.#receiveMaximum,
    }
    const answer = await this.#ask('connack', {
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: this.#version,
      clientId,
      clean: role.clean,
      keepalive: 0,
      ...credentials,
      ...(this.#version === 5 && { properties }),
    })
    if (answer.cmd !== 'connack' || (answer.returnCode ?? answer.reasonCode) !== 0)
      throw new Error('CONNECT refused')
    return answer.sessionPresent
  }

  async subscribe(): Promise<void> {
    const { device, role, session } = this.client
    const topic = `users/${device.account.userId}/inbox/#`
    const messageId = session.newPacketId()
    const answer = await this.#ask('suback', {
      cmd: 'subscribe',
      messageId,
      subscriptions: [{ topic, qos: role.qos }],
    })
    if (answer.cmd !== 'suback' || answer.granted[0] !== role.qos) throw new Error('SUBSCRIBE refused')
    device.beginDelivery()
  }

  /** In the same session a resend has the original packet id and DUP [MQTT-3.3.1-1] [MQTT-4.4.0-1]. */
  resend(messages: Iterable<Outgoing>): void {
    const { outgoing, releasing } = this.client.session
    for (const messageId of releasing) this.#write({ cmd: 'pubrel', messageId })
    for (const message of messages) {
      const { packetId } = message
      if (packetId !== undefined && outgoing.get(packetId) === message) this.#publish(message, packetId, true)
      else this.send(message)
    }
  }

  send(message: Outgoing): void {
    const { session } = this.client
    const packetId = session.newPacketId()
    message.packetId = packetId
    session.outgoing.set(packetId, message)
    this.#publish(message, packetId, false)
  }

  freeze(): void {
    this.stream.pause()
  }

  thaw(): void {
    this.stream.resume()
  }

  /** Ends for the client at once; its next connection may meet this one on the server. */
  leave(): void {
    this.#write({ cmd: 'disconnect' })
    this.#finish()
    this.stream.resume()
    this.stream.end()
    setTimeout(() => this.stream.destroy(), CLOSE_TIMEOUT_MS).unref()
  }

  cut(): void {
    this.#finish()
    if (this.stream instanceof Socket && this.client.wantsReset) this.stream.resetAndDestroy()
    else this.stream.destroy()
  }

  abandon(): void {
    this.#finish()
    this.stream.pause()
    setTimeout(() => this.stream.destroy(), ABANDONED_MS).unref()
  }

  #finish(): void {
    this.#isOver = true
    this.#end()
  }

  async #ask(answer: Answer, packet: Packet): Promise<Packet> {
    const answered = new Promise<Packet>(resolve => this.#awaited.set(answer, resolve))
    this.#write(packet)
    const got = await Promise.race([answered, this.closed])
    if (got === undefined) throw new Error(`closed before ${answer}`)
    return got
  }

  #write(packet: Packet): void {
    if (this.#isOver) return
    if (packet.cmd === 'puback' || packet.cmd === 'pubcomp')
      this.#unacknowledged.delete(packet.messageId ?? 0)
    this.stream.write(mqttPacket.generate(packet, { protocolVersion: this.#version }))
  }

  #publish({ pair, content }: Outgoing, messageId: number, dup: boolean): void {
    const topic = `users/${pair.recipient.userId}/inbox`
    this.#write({
      cmd: 'publish',
      topic,
      payload: content,
      qos: this.client.role.qos,
      messageId,
      dup,
      retain: false,
    })
  }

  #take(packet: Packet): void {
    const { session } = this.client
    const messageId = packet.messageId ?? 0
    if (packet.cmd === 'publish') this.#arrived(packet, messageId)
    else if (packet.cmd === 'pubrel') this.#released(messageId)
    else if (isRefusal(packet)) this.client.wronged(`${packet.cmd} with reason ${packet.reasonCode}`)
    else if (packet.cmd === 'puback') this.#accepted(messageId)
    else if (packet.cmd === 'pubcomp') session.releasing.delete(messageId)
    else if (packet.cmd === 'connack' || packet.cmd === 'suback') this.#awaited.get(packet.cmd)?.(packet)
    else if (packet.cmd === 'pubrec') {
      this.#accepted(messageId)
      session.releasing.add(messageId)
      this.#write({ cmd: 'pubrel', messageId })
    }
  }

  /** PUBACK and PUBREC must not arrive before the message is stored. */
  #accepted(messageId: number): void {
    const { session, outbox } = this.client
    const message = session.outgoing.get(messageId)
    session.outgoing.delete(messageId)
    if (message !== undefined) outbox.acknowledged(message)
  }

  #arrived({ payload, qos }: IPublishPacket, messageId: number): void {
    const { client } = this
    const { content, seq, id } = JSON.parse(payload.toString())
    this.#count(messageId)
    if (qos === 2) {
      if (!client.session.incoming.has(messageId))
        client.session.incoming.set(messageId, { content, seq, id })
      this.#later({ cmd: 'pubrec', messageId })
      return
    }
    client.received({ content, seq, id })
    this.#later({ cmd: 'puback', messageId })
    client.device.confirmed(seq)
  }

  #released(messageId: number): void {
    const { client } = this
    this.#count(messageId)
    const message = client.session.incoming.get(messageId)
    client.session.incoming.delete(messageId)
    if (message !== undefined) {
      client.received(message)
      client.device.confirmed(message.seq)
    }
    this.#later({ cmd: 'pubcomp', messageId })
  }

  #count(messageId: number): void {
    this.#unacknowledged.add(messageId)
    if (this.#unacknowledged.size > this.#receiveMaximum)
      this.client.wronged(`more than ${this.#receiveMaximum} packets at once`)
  }

  /** Timers of the same length fire in the order in which they started. */
  #later(packet: Packet): void {
    if (this.#ackDelayMs === 0) this.#write(packet)
    else setTimeout(() => this.#write(packet), this.#ackDelayMs)
  }
}

/** A message that is refused. 0x92 (packet identifier not found) is an answer to a handshake that is over. */
const isRefusal = (packet: Packet): packet is Packet & { reasonCode: number } =>
  (packet.cmd === 'puback' || packet.cmd === 'pubrec') && (packet.reasonCode ?? 0) >= 0x80
