/**
 * Shifts the clock of the program that it is loaded into (`node --import`): by the environment's CLOCK_OFFSET_MS, in all
 * its threads. Time that is measured (performance.now, timers) goes on as ever, as where a system's clock is set.
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
