/** Control frames of a server (RFC 6455, 5.5), and what a client's close frame says. */
import { isUtf8 } from 'node:buffer'
import { type FrameFault, OPCODE } from './frames.js'

const NOTHING = Buffer.alloc(0)

/** @param payload at most 125 bytes */
export function controlFrame(opcode: number, payload: Buffer = NOTHING): Buffer {
  const frame = Buffer.allocUnsafe(2 + payload.length)
  frame[0] = 0x80 | opcode
  frame[1] = payload.length
  frame.set(payload, 2)
  return frame
}

/** @param reason at most 123 bytes of UTF-8 */
export function closeFrame(code: number, reason: string): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason))
  payload.writeUInt16BE(code)
  payload.write(reason, 2)
  return controlFrame(OPCODE.close, payload)
}

/** What a client's close frame must not say (RFC 6455, 7.4). */
export function closeFault(payload: Buffer): FrameFault | undefined {
  if (payload.length === 0) return undefined
  if (payload.length === 1) return { code: 1002, what: 'half a close code' }
  const code = payload.readUInt16BE()
  if (!isSendable(code)) return { code: 1002, what: `close code ${code}` }
  return isUtf8(payload.subarray(2)) ? undefined : { code: 1007, what: 'close reason is not UTF-8' }
}

/** Registered codes, without the three that no frame carries, and those of applications. */
const isSendable = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) || (code >= 3000 && code <= 4999)
