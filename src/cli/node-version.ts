/** As `engines` in package.json says. An older Node may start, and then fail at the first request. */
const NEEDED = [20, 19] as const

/** @param version process.versions.node @returns what to say of one that is too old */
export function nodeFault(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isGood = major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])
  return isGood ? undefined : `needs Node ${NEEDED.join('.')} or later; this is ${version}`
}
