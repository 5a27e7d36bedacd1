/** A minimal WebSocket client (RFC 6455): sends masked frames, reads unmasked ones. */
import { Chatter, type Frame } from './chatter.js'
import { BLANK } from './flow.js'

const TEXT = 0x81
const CLOSE = 0x88
const PING = 0x89
const PONG = 0x8a
/** A masking key of four equal bytes, so a stamp can be masked without knowing its offset in the frame. */
const MASK = 0x5a

/** A masked frame with FIN set. */
export function encodeFrame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload
  if (length > 0xffff) throw new Error('the generator sends no frame over 64 KiB')
  const header = length < 126 ? [opcode, 0x80 | length] : [opcode, 0x80 | 126, length >> 8, length & 0xff]
  const frame = Buffer.concat([Buffer.from([...header, MASK, MASK, MASK, MASK]), payload])
  for (let i = header.length + 4; i < frame.length; i++) frame[i] = (frame[i] ?? 0) ^ MASK
  return frame
}

export abstract class WebSocketClient extends Chatter {
  #isUpgraded = false
  #upgraded: () => void = () => undefined
  readonly #texts: string[] = []
  readonly #readers: ((text: string) => void)[] = []

  /** Handles the payload of a text frame, from `start` to `end`. @returns whether it belongs to the measured traffic */
  protected abstract traffic(bytes: Buffer, start: number, end: number): boolean

  protected async upgrade(path: string): Promise<void> {
    await this.opened()
    const upgraded = new Promise<void>(resolve => {
      this.#upgraded = resolve
    })
    this.socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
    )
    await Promise.race([upgraded, this.broken])
  }

  protected text(text: string): void {
    this.socket.write(encodeFrame(TEXT, Buffer.from(text)))
  }

  /** Resolves with the next text frame that does not belong to the measured traffic. */
  protected read(): Promise<string> {
    const text = this.#texts.shift()
    if (text !== undefined) return Promise.resolve(text)
    return Promise.race([new Promise<string>(resolve => this.#readers.push(resolve)), this.broken])
  }

  /** @param text a complete message whose content is BLANK */
  protected messageFrame(text: string): Frame {
    const bytes = encodeFrame(TEXT, Buffer.from(text))
    return { bytes, contentAt: bytes.length - text.length + text.indexOf(BLANK), mask: MASK }
  }

  protected override parse(bytes: Buffer, end: number): number {
    let at = this.#isUpgraded ? 0 : this.#handshake(bytes)
    // Sends a pong and the next messages in one write.
    this.socket.cork()
    while (this.#isUpgraded && at + 2 <= end) {
      let length = (bytes[at + 1] ?? 0) & 0x7f
      let start = at + 2
      if (length === 126) {
        if (at + 4 > end) break
        length = bytes.readUInt16BE(at + 2)
        start = at + 4
      } else if (length === 127) {
        if (at + 10 > end) break
        length = Number(bytes.readBigUInt64BE(at + 2))
        start = at + 10
      }
      if (start + length > end) break
      this.#frame(bytes[at] ?? 0, bytes, start, start + length)
      at = start + length
    }
    this.refill()
    this.socket.uncork()
    return at
  }

  #handshake(bytes: Buffer): number {
    const end = bytes.indexOf('\r\n\r\n')
    if (end < 0) return 0
    if (!bytes.toString('latin1', 0, end).startsWith('HTTP/1.1 101')) {
      this.socket.destroy(new Error(`no upgrade: ${bytes.toString('latin1', 0, end).slice(0, 60)}`))
      return bytes.length
    }
    this.#isUpgraded = true
    this.#upgraded()
    return end + 4
  }

  #frame(opcode: number, bytes: Buffer, start: number, end: number): void {
    if (opcode === TEXT) {
      if (!this.traffic(bytes, start, end)) this.#control(bytes.toString('utf8', start, end))
    } else if (opcode === PING) this.socket.write(encodeFrame(PONG, bytes.subarray(start, end)))
    else if (opcode === CLOSE) this.socket.end()
    else throw new Error(`unexpected WebSocket opcode ${opcode}`)
  }

  #control(text: string): void {
    const reader = this.#readers.shift()
    if (reader === undefined) this.#texts.push(text)
    else reader(text)
  }
}
