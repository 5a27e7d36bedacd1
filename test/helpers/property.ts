import fc, { type IProperty, type Parameters } from 'fast-check'
import type { Test } from 'tap'

/** The same inputs in every run, so that a failure comes again; it names the smallest input that it found. */
const SEED = 20_190_715

/** @param property must be synchronous */
export function check<T>(t: Test, property: IProperty<T>, options: Parameters<T> = {}): void {
  const details = fc.check(property, { seed: SEED, numRuns: 1000, ...options })
  if (details.failed) t.fail(fc.defaultReportMessage(details) ?? 'failed')
  else t.pass(`${details.numRuns} runs`)
}
