/** Sends handshakes and frames, one connection per input. */
import type { Random } from '../random.js'
import { split } from './hostile.js'
import { type Door, Fault, type Input } from './input.js'
import { RawSocket } from './raw-socket.js'
import { framesInput, handshakeInput } from './websocket-inputs.js'
import { closeCodeOf, END_OF_HEADERS, readFrames, readStatus, upgradeRequest } from './websocket-wire.js'
import type { World } from './world.js'

export class HandshakeDoor implements Door {
  current: Input | undefined

  constructor(private readonly world: World) {}

  async send(random: Random): Promise<string> {
    const input = handshakeInput(random)
    this.current = input
    const socket = new RawSocket(this.world.ports.http)
    await socket.write(split(random, input.bytes))
    await socket.end()
    const status = readStatus(socket.received)
    this.world.checkStatus(status)
    if (input.isWrong && status === 101) throw new Fault('let in')
    this.current = undefined
    return `${input.kind}: ${status ?? 'closed'}`
  }

  close(): void {}
}

export class FramesDoor implements Door {
  current: Input | undefined

  constructor(private readonly world: World) {}

  async send(random: Random): Promise<string> {
    const { kind, bytes, closes } = framesInput(random)
    this.current = { kind, bytes }
    const socket = new RawSocket(this.world.ports.http)
    await socket.write([upgradeRequest()])
    await socket.until(() => socket.received.includes(END_OF_HEADERS), 'handshake')
    const status = readStatus(socket.received)
    if (status !== 101) return this.#turnedAway(socket)
    await socket.write(split(random, bytes))
    if (closes !== undefined)
      await socket.until(() => closeCode(socket.received) !== undefined, 'close frame')
    await socket.end()
    const code = closeCode(socket.received)
    if (closes !== undefined && !closes.includes(code ?? 0)) throw new Fault(`closed with ${code}`)
    this.current = undefined
    return `${kind}: ${code === undefined ? 'ended' : `closed ${code}`}`
  }

  #turnedAway(socket: RawSocket): string {
    socket.destroy()
    if (!this.world.isCounted) throw new Fault('a right handshake was refused')
    this.current = undefined
    return 'frames: turned away'
  }

  close(): void {}
}

const closeCode = (received: Buffer): number | undefined => closeCodeOf(readFrames(received))
