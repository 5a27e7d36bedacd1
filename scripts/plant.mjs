/**
 * Plants a fault into the built program before it starts (`node --import`), to show that a test can fail.
 * The environment variable PLANTED_FAULT names the fault.
 */

/** Fails if the method to replace does not exist, because the fault would then have no effect. */
export function replace({ prototype }, name, make) {
  const original = prototype[name]
  if (typeof original !== 'function') throw new Error(`nothing to plant a fault in: no method ${name}`)
  prototype[name] = function (...args) {
    return make(original.bind(this), this)(...args)
  }
}

/** @param faults name → function that plants the fault */
export function plant(faults) {
  const chosen = faults[process.env.PLANTED_FAULT ?? '']
  if (chosen === undefined) throw new Error(`PLANTED_FAULT is none of ${Object.keys(faults).join(', ')}`)
  chosen()
}
