/** MQTT over TCP or WebSocket, one connection per input. */
import mqttPacket, { type Packet } from 'mqtt-packet'
import type { Random } from '../random.js'
import { split } from './hostile.js'
import { type Account, type Door, Fault } from './input.js'
import { type MqttInput, mqttInput, type Version } from './mqtt-inputs.js'
import { MqttSocket } from './mqtt-socket.js'
import type { World } from './world.js'

/** A packet that is always answered; no input uses its packet id. */
const MARK_ID = 4242
const mark = (protocolVersion: Version) =>
  mqttPacket.generate(
    { cmd: 'unsubscribe', messageId: MARK_ID, unsubscriptions: ['mark'] },
    { protocolVersion },
  )
const DISCONNECT = mqttPacket.generate({ cmd: 'disconnect' })
/** CONNACK codes of MQTT 3.1.1 and 5: bad user name or password. */
const BAD_PASSWORD: readonly (number | undefined)[] = [4, 0x86]

export class MqttDoor implements Door {
  current: MqttInput | undefined
  #account: Account | undefined

  constructor(
    private readonly world: World,
    private readonly isWebSocket: boolean,
  ) {}

  async send(random: Random): Promise<string> {
    const name = this.isWebSocket ? 'mqtt websocket' : 'mqtt'
    try {
      this.#account ??= await this.world.register()
    } catch (error) {
      if (this.world.isCounted) return `${name}: turned away`
      throw new Fault(`no account: ${error instanceof Error ? error.message : error}`)
    }
    this.current = mqttInput(random, this.#account)
    const { version } = this.current
    const socket = await MqttSocket.open(this.world, this.isWebSocket, version)
    const outcome = socket === undefined ? 'turned away' : await this.#exchange(socket, random, this.current)
    const { kind } = this.current
    this.current = undefined
    return `${name}${version === 5 ? ' 5' : ''} ${kind}: ${outcome}`
  }

  async #exchange(
    socket: MqttSocket,
    random: Random,
    { version, connect, bytes, isWhole }: MqttInput,
  ): Promise<string> {
    if (connect.length > 0) {
      await socket.write([connect])
      await socket.until(packets => packets.length > 0, 'CONNACK')
      const refused = this.#refusal(socket)
      if (refused !== undefined) {
        await socket.end()
        return refused
      }
    }
    await socket.write(split(random, bytes))
    if (isWhole) {
      await socket.write([mark(version)])
      await socket.until(isMarked, 'answer')
      if (!isMarked(socket.packets) && !socket.isOver) throw new Fault('no answer')
      await socket.write([DISCONNECT])
    }
    await socket.end()
    this.#checkRights(socket.packets)
    return isMarked(socket.packets) ? 'answered' : 'closed'
  }

  #refusal(socket: MqttSocket): string | undefined {
    const [connack] = socket.packets
    if (connack?.cmd !== 'connack') return 'closed'
    const code = connack.returnCode ?? connack.reasonCode
    if (code === 0) return undefined
    // An input deleted the account or changed its password.
    if (BAD_PASSWORD.includes(code)) this.#account = undefined
    return `CONNACK ${code}`
  }

  /** Whatever the filters: of `users/…` only the client's own topics and presence may arrive; of `$…` nothing. */
  #checkRights(packets: readonly Packet[]): void {
    const me = this.#account?.id
    for (const packet of packets) {
      if (packet.cmd !== 'publish' || !/^(users(\/|$)|\$)/.test(packet.topic)) continue
      const isOwn = /^(replies$|replies\/|inbox\/)/.test(packet.topic.split(`users/${me}/`)[1] ?? '')
      if (!isOwn && !/^users\/[1-9][0-9]{8}\/presence$/.test(packet.topic))
        throw new Fault('the topic of another')
    }
  }

  close(): void {}
}

const isMarked = (packets: readonly Packet[]): boolean =>
  packets.some(({ cmd, messageId }) => cmd === 'unsuback' && messageId === MARK_ID)
