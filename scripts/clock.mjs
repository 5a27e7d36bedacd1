/**
 * Loaded with `node --import`: shifts the program's clock by the environment variable CLOCK_OFFSET_MS, in all threads.
 * Monotonic time (performance.now, timers) does not change, as when a system's clock is set.
 */
const offsetMs = Number(process.env.CLOCK_OFFSET_MS)
if (!Number.isFinite(offsetMs)) throw new Error('CLOCK_OFFSET_MS must be a number')

const RealDate = Date

globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(RealDate.now() + offsetMs)
    else super(...args)
  }

  static now() {
    return RealDate.now() + offsetMs
  }
}
