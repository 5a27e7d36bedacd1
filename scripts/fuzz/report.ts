/** Prints the result: a table and each fault for people, then one line of JSON for programs. */
import { type Fuzz, mebibytes } from './fuzz.js'
import { type Held, sum } from './memory.js'

export function report(seed: string, run: Fuzz): string {
  const outcomes = [...run.outcomes].sort(([a], [b]) => (a < b ? -1 : 1))
  const { done, faults, faultCount, medianMs, longestMs, warm, end } = run
  const rows: [string, string | number][] = [
    ['seed', seed],
    ['inputs', done],
    ...outcomes,
    ['a healthy pair', `${medianMs.toFixed(1)} ms in the middle, ${longestMs.toFixed(1)} ms at most`],
    ['memory after the warm-up', memory(warm)],
    ['memory at the end', memory(end)],
    ['faults', faultCount],
  ]
  const table = rows.map(([name, value]) => `${name.padEnd(40)} ${value}\n`).join('')
  const summary = { seed, inputs: done, faults: faultCount, medianMs, longestMs, warm, end }
  return `${table}${faults.map(fault => `${fault}\n`).join('')}${JSON.stringify(summary)}\n`
}

const memory = (held: Held): string =>
  `${mebibytes(sum(held))} MiB held (objects ${mebibytes(held.heap)}, outside of them ${mebibytes(held.external)}), ` +
  `${mebibytes(held.resident)} MiB resident`
