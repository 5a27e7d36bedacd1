/** Turns the results of all rounds into one table per comparison, ratios first. */
import { median, type Result, ratios, titleOf } from './results.js'

/** Compared values: costs, rates and slow deliveries. For costs and times, a ratio below 1 is better. */
const COMPARED = /CPU µs|\/|p99/

/** @returns Markdown, one table for each scenario, wire and step */
export function markdown(results: readonly Result[], reference: string): string {
  const tables = groupBy(results, titleOf)
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

/** Of two builds: what a message costs and how many there are a second, with the round that was best for `reference`. */
export function comparison(results: readonly Result[], reference: string, peer: string): string {
  const lines = [
    `| ${reference} ÷ ${peer} | CPU a message: median, best | messages a second: median, best |\n| --- | ---: | ---: |\n`,
  ]
  for (const [title, all] of groupBy(results, titleOf)) {
    const of = (name: string) => all.filter(result => result.peer === name)
    const cell = (name: string, best: (...values: number[]) => number) => {
      const some = ratios(of(reference), of(peer), name)
      return some.length === 0 ? '–' : `${format(median(some), 2)}, ${format(best(...some), 2)}`
    }
    lines.push(`| ${title} | ${cell('CPU µs a message', Math.min)} | ${cell('messages/s', Math.max)} |\n`)
  }
  return lines.join('')
}

/** @returns the median, and minimum–maximum if they differ */
function spread(values: readonly number[], digits?: number): string {
  const sorted = values.filter(value => !Number.isNaN(value)).sort((a, b) => a - b)
  const [min, max] = [sorted[0], sorted.at(-1)]
  if (min === undefined || max === undefined) return '–'
  const show = (value: number) => format(value, digits)
  return show(min) === show(max) ? show(min) : `${show(median(sorted))} (${show(min)}–${show(max)})`
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
