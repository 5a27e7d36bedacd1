/** Which web pages may connect, by the Origin header (RFC 6454). */

const WILDCARD = '://*.'

/**
 * @param allowed origins from the config; `https://*.chat.example` allows any one label below chat.example; empty = all
 */
export function originCheck(allowed: readonly string[]): (origin: string) => boolean {
  if (allowed.length === 0) return () => true
  const exact = new Set(allowed.filter(one => !one.includes(WILDCARD)))
  const wild = allowed
    .filter(one => one.includes(WILDCARD))
    .map(one => {
      const at = one.indexOf(WILDCARD) + '://'.length
      return { scheme: one.slice(0, at), parent: one.slice(at + 1) }
    })
  return origin =>
    exact.has(origin) ||
    wild.some(({ scheme, parent }) => {
      if (!origin.startsWith(scheme) || !origin.endsWith(parent)) return false
      return LABEL.test(origin.slice(scheme.length, -parent.length))
    })
}

/** A label by RFC 1123, 2.1, plus the underscore, which browsers accept. */
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/
