/** Spans of time as people type and read them. */
import type { Range } from '../../protocol/admin-ranges.js'
import { EXIT_USAGE } from '../exit-codes.js'
import { CommandError } from './ask.js'
import { safe } from './print.js'

const UNITS = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
] as const

const SECONDS: ReadonlyMap<string, number> = new Map([...UNITS, ['s', 1]])

/** The largest unit alone: '3d', '40s'. */
export function age(seconds: number): string {
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? (['s', 1] as const)
  return `${Math.floor(seconds / length)}${unit}`
}

/** As `Range`: six digits of days go no further. */
const ANY: Range = { minimum: 0, maximum: 999_999 * 86_400 }

/** @param text such as '30d' @throws CommandError that names the option */
export function secondsOf(option: string, text: string, { minimum, maximum } = ANY): number {
  const [, count, unit = ''] = /^(\d{1,6})([dhms])$/.exec(text) ?? []
  const seconds = SECONDS.get(unit)
  if (count === undefined || seconds === undefined)
    throw new CommandError(
      `${option}: must be a number and s, m, h or d, as 30d; not '${safe(text)}'`,
      EXIT_USAGE,
    )
  const total = Number(count) * seconds
  if (total < minimum || total > maximum)
    throw new CommandError(`${option}: must be ${age(minimum)} to ${age(maximum)}, not '${text}'`, EXIT_USAGE)
  return total
}

/** @param text such as '30d' @returns the time so long ago, RFC 3339 @throws CommandError */
export const timeBefore = (text: string, now = Date.now()): string =>
  new Date(now - secondsOf('--older', text) * 1000).toISOString()
