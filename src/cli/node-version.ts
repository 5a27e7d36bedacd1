import { EXIT_FAILURE } from './exit-codes.js'

/** The version of `engines` in package.json. An older Node may start and then fail at the first request. */
const NEEDED = [20, 19] as const

/** Ends the process if its Node is too old. */
export function refuseOldNode(): void {
  const version = process.versions.node
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) return
  process.stderr.write(`mumi: needs Node ${NEEDED.join('.')} or later; this is ${version}\n`)
  process.exit(EXIT_FAILURE)
}
