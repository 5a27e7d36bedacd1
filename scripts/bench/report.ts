/** Turns the results of all rounds into one table per comparison, ratios first. */
import type { Values } from './chat.js'

export interface Result {
  readonly scenario: string
  readonly wire: string
  readonly step: string
  readonly peer: string
  readonly round: number
  readonly values: Values
}

/** Compared values: rates and slow deliveries. For times, a ratio below 1 is better. */
const COMPARED = /\/|p99/

/** @returns Markdown, one table for each scenario, wire and step */
export function markdown(results: readonly Result[], reference: string): string {
  const tables = groupBy(results, ({ scenario, wire, step }) =>
    [scenario, wire, step].filter(Boolean).join(', '),
  )
  return Array.from(tables, ([title, rows]) => `### ${title}\n\n${table(rows, reference)}`).join('\n')
}

function table(results: readonly Result[], reference: string): string {
  const peers = groupBy(results, ({ peer }) => peer)
  const names = [...new Set(results.flatMap(({ values }) => Object.keys(values)))]
  const base = peers.get(reference) ?? []
  const compared = peers.size > 1 ? names.filter(name => COMPARED.test(name)) : []
  const lines = [
    ['', ...compared.map(name => `${reference} ÷ peer: ${name}`), ...names],
    ['---', ...compared.map(() => '---:'), ...names.map(() => '---:')],
  ]
  for (const [peer, rounds] of peers) {
    const cells = names.map(name => spread(rounds.map(({ values }) => values[name] ?? Number.NaN)))
    const shares = compared.map(name =>
      peer === reference ? '' : `**${spread(ratios(base, rounds, name), 2)}**`,
    )
    lines.push([peer, ...shares, ...cells])
  }
  return lines.map(cells => `| ${cells.join(' | ')} |\n`).join('')
}

/**
 * Takes the better of the ratio by CPU time and the ratio by clock. On a busy machine a peer gets its messages in larger
 * groups, which cost it less CPU time, and the clock depends on which process gets a core.
 */
const RATES = ['messages/s', 'messages/server CPU s']

export interface Floor {
  readonly reference: string
  readonly peer: string
  /** reference ÷ peer. */
  readonly least: number
}

/** @returns an error text if the floor was not reached or not measured, or if messages are missing */
export function below(results: readonly Result[], { reference, peer, least }: Floor): string | undefined {
  const of = (name: string) => results.filter(result => result.peer === name)
  const medians = RATES.flatMap(rate => {
    const all = ratios(of(reference), of(peer), rate).sort((a, b) => a - b)
    return all[all.length >> 1] ?? []
  })
  if (medians.length === 0 || Number.isNaN(least)) return `floor of ${peer}: nothing was measured`
  const best = Math.max(...medians)
  const faults = of(reference).some(({ values }) => values.lost || values.duplicated || values.reordered)
  if (faults) return `${reference} lost, duplicated or reordered messages`
  return best >= least ? undefined : `${reference} ÷ ${peer} is ${best.toFixed(2)}, below ${least}`
}

/** Ratios are taken round by round, because runs close in time had the same machine load. */
function ratios(base: readonly Result[], rounds: readonly Result[], name: string): number[] {
  return rounds.flatMap(({ round, values }) => {
    const own = base.find(result => result.round === round)?.values[name]
    const other = values[name]
    return own === undefined || other === undefined ? [] : [own / other]
  })
}

/** @returns the median, and minimum–maximum if they differ */
function spread(values: readonly number[], digits?: number): string {
  const sorted = values.filter(value => !Number.isNaN(value)).sort((a, b) => a - b)
  const [min, max] = [sorted[0], sorted.at(-1)]
  if (min === undefined || max === undefined) return '–'
  const middle = [sorted[(sorted.length - 1) >> 1] ?? min, sorted[sorted.length >> 1] ?? max]
  const median = ((middle[0] ?? min) + (middle[1] ?? max)) / 2
  const show = (value: number) => format(value, digits)
  return show(min) === show(max) ? show(median) : `${show(median)} (${show(min)}–${show(max)})`
}

function format(
  value: number,
  digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2,
): string {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

function groupBy(results: readonly Result[], keyOf: (result: Result) => string): Map<string, Result[]> {
  const groups = new Map<string, Result[]>()
  for (const result of results) {
    const group = groups.get(keyOf(result))
    if (group === undefined) groups.set(keyOf(result), [result])
    else group.push(result)
  }
  return groups
}
