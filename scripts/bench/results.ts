/** Results of all rounds, and ratios between peers. */
import type { Values } from './chat.js'

export interface Result {
  readonly scenario: string
  readonly wire: string
  readonly step: string
  readonly peer: string
  readonly round: number
  readonly values: Values
}

/** The measurement that a result belongs to, whatever the peer and the round: `load, json, 2000/s single`. */
export const titleOf = ({ scenario, wire, step }: Result): string =>
  [scenario, wire, step].filter(Boolean).join(', ')

/** Ratios of one value, `base` ÷ `others`, round by round, because runs close in time had the same machine load. */
export function ratios(base: readonly Result[], others: readonly Result[], name: string): number[] {
  return others.flatMap(other => {
    const same = base.find(one => one.round === other.round && titleOf(one) === titleOf(other))
    const [own, theirs] = [same?.values[name], other.values[name]]
    return own === undefined || theirs === undefined ? [] : [own / theirs]
  })
}

/** @returns NaN for no values; those that are NaN do not count */
export function median(values: readonly number[]): number {
  const sorted = values.filter(value => !Number.isNaN(value)).sort((a, b) => a - b)
  const half = sorted.length >> 1
  const upper = sorted[half] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2
}
