/** A minimal Socket.IO client: Engine.IO 4 over WebSocket, Socket.IO protocol 5, messages with acknowledgement. */
import type { Frame } from './chatter.js'
import { BLANK } from './flow.js'
import { TAIL } from './json-client.js'
import { emailOf } from './program.js'
import { WebSocketClient } from './websocket-client.js'

const DIGIT_0 = 0x30
const DIGIT_2 = 0x32
const DIGIT_3 = 0x33
const DIGIT_4 = 0x34
/** Acknowledgement ids have two digits, one id for each slot; the login's id has one digit. */
const FIRST_ID = 10
const LOGIN_ID = 0

export class SocketIoClient extends WebSocketClient {
  async open(): Promise<void> {
    await this.upgrade('/socket.io/?EIO=4&transport=websocket')
    await this.read() // 0{"sid":…}
    this.text('40')
    await this.read() // 40{"sid":…}
  }

  async enter(id: string): Promise<void> {
    this.text(`42${LOGIN_ID}${JSON.stringify(['login', { email: emailOf(id) }])}`)
    await this.read()
  }

  protected override frame(recipient: string, slot: number): Frame {
    return this.messageFrame(
      `42${FIRST_ID + slot}${JSON.stringify(['message', { recipient, content: BLANK }])}`,
    )
  }

  protected override traffic(bytes: Buffer, start: number, end: number): boolean {
    const type = bytes[start + 1]
    if (bytes[start] === DIGIT_2) this.text('3')
    else if (bytes[start] !== DIGIT_4) return false
    else if (type === DIGIT_2) this.delivered(bytes, end - TAIL - 1)
    else if (type === DIGIT_3 && bytes[start + 2] !== DIGIT_0) this.acked()
    else return false
    return true
  }
}
