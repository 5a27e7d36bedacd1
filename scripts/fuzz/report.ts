/** The result for people (a table, and each fault) and for programs (one line of JSON, the last). */
import { type Fuzz, mebibytes } from './fuzz.js'

export function report(seed: string, run: Fuzz): string {
  const outcomes = [...run.outcomes].sort(([a], [b]) => (a < b ? -1 : 1))
  const { done, faults, faultCount, medianMs, longestMs, warmBytes, endBytes } = run
  const rows: [string, string | number][] = [
    ['seed', seed],
    ['inputs', done],
    ...outcomes,
    ['a healthy pair', `${medianMs.toFixed(1)} ms in the middle, ${longestMs.toFixed(1)} ms at most`],
    ['held memory', `${mebibytes(warmBytes)} MiB after the warm-up, ${mebibytes(endBytes)} MiB at the end`],
    ['faults', faultCount],
  ]
  const table = rows.map(([name, value]) => `${name.padEnd(40)} ${value}\n`).join('')
  const summary = { seed, inputs: done, faults: faultCount, medianMs, longestMs, warmBytes, endBytes }
  return `${table}${faults.map(fault => `${fault}\n`).join('')}${JSON.stringify(summary)}\n`
}
