/** What the chat prints: text that cannot harm the terminal, and refusals in words. */
import { CODES } from '../core/errors.js'
import type { Reply } from './link.js'

/** Control characters, and those that change the direction of text: others could redraw the terminal with them. */
const CONTROL = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu

/** A line that a terminal shows as it is; the lines of a text are indented under the first. */
export const printable = (text: string): string =>
  text.replace(/\r?\n/g, '\n    ').replace(CONTROL, one => (one === '\n' || one === '\t' ? one : '\ufffd'))

/** Why a request was refused, for example `bad field: password is too short`; never empty. */
export function refusal({ code, msg, data }: Reply): string {
  const { field, reason }: { field?: unknown; reason?: unknown } = Object(data)
  const why = [field, reason].filter(isText).join(' ')
  return printable([msg, why].filter(isText).join(': ') || `the server gives no reason (code ${code})`)
}

const isText = (one: unknown): one is string => typeof one === 'string' && one !== ''

const RETRIED: ReadonlySet<number> = new Set(
  Object.values(CODES)
    .filter(row => row.retry)
    .map(row => row.code),
)

/** Whether the same request may succeed later. */
export const mayRetry = ({ code }: Reply): boolean => RETRIED.has(code)

/** @param createdAt RFC 3339 @returns the local time, with the date if it is not today */
export function clock(createdAt: string, now = new Date()): string {
  const at = new Date(createdAt)
  const two = (number: number) => `${number}`.padStart(2, '0')
  const time = `${two(at.getHours())}:${two(at.getMinutes())}`
  if (at.toDateString() === now.toDateString()) return time
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`
}

export const HELP = `Type a line and press Enter: it goes to whom you talk to.
  /to NAME      talk to somebody: an email, the part before its @, or an id
  @NAME TEXT    talk to somebody, and say this
  /who          who is there
  /all TEXT     say it to everybody who is there
  /history [N]  the last N messages with whom you talk to (20)
  /help         this text
  /quit         end; Ctrl-D and Ctrl-C do the same
A line that begins with // is sent with one /.`
