/** A raw connection that carries MQTT, over TCP or in the binary frames of a WebSocket [MQTT-6.0.0-1]. */
import mqttPacket, { type Packet } from 'mqtt-packet'
import { Fault } from './input.js'
import type { Version } from './mqtt-inputs.js'
import { RawSocket } from './raw-socket.js'
import {
  BINARY,
  closeCodeOf,
  END_OF_HEADERS,
  frame,
  HEADERS,
  readFrames,
  readStatus,
  upgradeRequest,
} from './websocket-wire.js'
import type { World } from './world.js'

/** Packet types that a server may send (MQTT 3.1.1, 2.2.1). */
const FROM_SERVER = new Set([
  'connack',
  'publish',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'suback',
  'unsuback',
  'pingresp',
])
/** And in MQTT 5. */
const FROM_SERVER5 = new Set([...FROM_SERVER, 'disconnect'])

export class MqttSocket {
  readonly #socket: RawSocket

  private constructor(
    world: World,
    private readonly isWebSocket: boolean,
    private readonly version: Version,
  ) {
    this.#socket = new RawSocket(isWebSocket ? world.ports.http : world.ports.mqtt)
  }

  /** @returns undefined if the server refuses the connection */
  static async open(world: World, isWebSocket: boolean, version: Version): Promise<MqttSocket | undefined> {
    const mqtt = new MqttSocket(world, isWebSocket, version)
    const socket = mqtt.#socket
    if (!isWebSocket) return mqtt
    await socket.write([upgradeRequest('/mqtt', [...HEADERS, ['Sec-WebSocket-Protocol', 'mqtt']])])
    await socket.until(() => socket.received.includes(END_OF_HEADERS), 'handshake')
    const status = readStatus(socket.received)
    if (status === 101) return mqtt
    socket.destroy()
    world.checkStatus(status)
    return undefined
  }

  /** Over WebSocket a close frame also counts as the end: the server may then wait for ours (RFC 6455, 7.1.1). */
  get isOver(): boolean {
    const { isOver, received } = this.#socket
    return isOver || (this.isWebSocket && closeCodeOf(readFrames(received)) !== undefined)
  }

  write(pieces: readonly Buffer[]): Promise<void> {
    return this.#socket.write(
      this.isWebSocket ? pieces.map(payload => frame({ opcode: BINARY, payload })) : pieces,
    )
  }

  until(isSo: (packets: readonly Packet[]) => boolean, what: string): Promise<void> {
    return this.#socket.until(() => isSo(this.packets) || this.isOver, what)
  }

  end(): Promise<void> {
    return this.#socket.end()
  }

  /** All received packets. @throws Fault for a packet that no server may send */
  get packets(): readonly Packet[] {
    const packets: Packet[] = []
    const parser = mqttPacket.parser({ protocolVersion: this.version })
    parser.on('packet', packet => packets.push(packet))
    parser.on('error', error => {
      throw new Fault(`a packet that is none: ${error.message}`)
    })
    parser.parse(this.#received)
    const known = this.version === 5 ? FROM_SERVER5 : FROM_SERVER
    for (const { cmd } of packets) if (!known.has(cmd)) throw new Fault(`${cmd} from the server`)
    if (packets.slice(0, -1).some(({ cmd }) => cmd === 'disconnect'))
      throw new Fault('a packet after DISCONNECT')
    return packets
  }

  get #received(): Buffer {
    const { received } = this.#socket
    if (!this.isWebSocket) return received
    return Buffer.concat(
      readFrames(received).flatMap(({ opcode, body }) => (opcode === BINARY ? [body] : [])),
    )
  }
}
