import { setTimeout as delay } from 'node:timers/promises'

/** @throws Error if `wanted` takes longer than the time limit */
export async function within<T>(ms: number, wanted: Promise<T>): Promise<T> {
  const patience = new AbortController()
  const late = delay(ms, undefined, { signal: patience.signal }).then(() => {
    throw new Error(`no answer within ${ms} ms`)
  })
  try {
    return await Promise.race([wanted, late])
  } finally {
    patience.abort()
    late.catch(() => undefined)
  }
}
