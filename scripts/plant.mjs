/**
 * Faults planted into the built program before it starts (`node --import`), so that a test of it can be seen to fail.
 * Which one: the environment's PLANTED_FAULT.
 */

/** A method that went elsewhere must not make a fault that is none. */
export function replace({ prototype }, name, make) {
  const original = prototype[name]
  if (typeof original !== 'function') throw new Error(`nothing to plant a fault in: no method ${name}`)
  prototype[name] = function (...args) {
    return make(original.bind(this), this)(...args)
  }
}

/** @param faults by name, what plants each */
export function plant(faults) {
  const chosen = faults[process.env.PLANTED_FAULT ?? '']
  if (chosen === undefined) throw new Error(`PLANTED_FAULT is none of ${Object.keys(faults).join(', ')}`)
  chosen()
}
