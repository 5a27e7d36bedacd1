/** Judges results by floors and limits that the command line sets. */
import { median, type Result, ratios } from './results.js'

export interface Floor {
  readonly reference: string
  readonly peer: string
  /** Rate, reference ÷ peer. */
  readonly least: number
}

/** @param text `PEER=N` */
export function parseFloor(text: string, reference: string): Floor {
  const [peer = '', least] = text.split('=')
  return { reference, peer, least: Number(least) }
}

/**
 * Takes the better of the ratio by CPU time and the ratio by clock. On a busy machine a peer gets its messages in larger
 * groups, which cost it less CPU time, and the clock depends on which process gets a core.
 */
const RATES = ['messages/s', 'messages/server CPU s']

/** @returns an error text if the floor was not reached or not measured, or if messages are missing */
export function belowFloor(
  results: readonly Result[],
  { reference, peer, least }: Floor,
): string | undefined {
  const of = (name: string) => results.filter(result => result.peer === name)
  const best = Math.max(...RATES.map(rate => median(ratios(of(reference), of(peer), rate))))
  if (Number.isNaN(best) || Number.isNaN(least)) return `floor of ${peer}: nothing was measured`
  if (hasFaults(of(reference))) return `${reference} lost, duplicated, reordered or damaged messages`
  return best >= least ? undefined : `${reference} ÷ ${peer} is ${best.toFixed(2)}, below ${least}`
}

export interface Limit {
  readonly reference: string
  readonly peer: string
  /** The step that is judged, such as `2000/s batching`. */
  readonly step: string
  /** CPU time a message, reference ÷ peer. */
  readonly most: number
}

/** @param text `PEER STEP=N` */
export function parseLimit(text: string, reference: string): Limit {
  const [, peer, step, most] = /^(\S+) (.+)=([\d.]+)$/.exec(text) ?? []
  if (peer === undefined || step === undefined) throw new Error(`a limit is 'PEER STEP=N', not '${text}'`)
  return { reference, peer, step, most: Number(most) }
}

/** @returns an error text if the cost was above the limit or not measured, or if messages are missing */
export function aboveLimit(
  results: readonly Result[],
  { reference, peer, step, most }: Limit,
): string | undefined {
  const of = (name: string) => results.filter(result => result.peer === name && result.step === step)
  const ratio = median(ratios(of(reference), of(peer), 'CPU µs a message'))
  if (Number.isNaN(ratio)) return `limit of ${peer} at ${step}: nothing was measured`
  if (hasFaults(of(reference)))
    return `${reference} lost, duplicated, reordered or damaged messages at ${step}`
  if (ratio <= most) return undefined
  return `CPU a message at ${step}: ${reference} ÷ ${peer} is ${ratio.toFixed(2)}, above ${most}`
}

const hasFaults = (results: readonly Result[]): boolean =>
  results.some(({ values }) => values.lost || values.duplicated || values.reordered || values.damaged)
