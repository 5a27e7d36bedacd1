/** A client of the JSON protocol (docs/protocol.md), as the desktop client speaks it: no options at login. */
import type { Frame } from './chatter.js'
import { BLANK } from './flow.js'
import { emailOf, PASSWORD } from './program.js'
import { WebSocketClient } from './websocket-client.js'

/** The bytes after the content of a delivered message. */
export const TAIL = '","created_at":"2026-01-01T00:00:00Z"}'.length
/** A longer delivered message does not belong to the measurement. */
const LONGEST = 1000
const LETTER_S = 0x73
const DIGITS_201 = Buffer.from('201')

export interface Reply {
  readonly code: number
  readonly data: unknown
}

export class JsonClient extends WebSocketClient {
  /** The greeting comes first. */
  async open(): Promise<void> {
    await this.upgrade('/')
    await this.read()
  }

  async request(request: object): Promise<Reply> {
    this.text(JSON.stringify(request))
    return JSON.parse(await this.read())
  }

  async enter(id: string, _session?: 'clean' | 'kept', token?: string): Promise<void> {
    const data = token === undefined ? { email: emailOf(id), password: PASSWORD } : { token }
    const { code } = await this.request({ type: 'action', action: 'login', data })
    if (code !== 202) throw new Error(`login answered ${code}`)
  }

  protected override frame(recipient: string): Frame {
    return this.messageFrame(JSON.stringify({ type: 'message', data: { recipient, content: BLANK } }))
  }

  /** `{"sender":…` is a delivered message, `{"code":201` the reply to a message of this client. */
  protected override traffic(bytes: Buffer, start: number, end: number): boolean {
    if (bytes[start + 2] === LETTER_S) {
      if (end - start <= LONGEST) this.delivered(bytes, end - TAIL)
      return true
    }
    if (this.outgoing === undefined || bytes.compare(DIGITS_201, 0, 3, start + 8, start + 11) !== 0)
      return false
    this.acked()
    return true
  }
}
