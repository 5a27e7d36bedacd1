/** The fast lane of gateways that run in this process: what it took, or none at all. */
import type { Test } from 'tap'
import { FastLane } from '../../src/broker/fast-lane.js'

/** With `isOpen` false every packet goes through Aedes until the test ends. @returns how many packets the lane took */
export function watchLane(t: Test, isOpen = true): { readonly taken: number } {
  const { take } = FastLane.prototype
  const seen = { taken: 0 }
  FastLane.prototype.take = function (...packet) {
    if (!isOpen || !take.apply(this, packet)) return false
    seen.taken++
    return true
  }
  t.teardown(() => {
    FastLane.prototype.take = take
  })
  return seen
}
