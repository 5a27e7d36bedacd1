import { EXIT_USAGE } from './exit-codes.js'

/** What stands for bytes that are no UTF-8. */
const REPLACEMENT = '\uFFFD'

/** Ends the process where words or settings are not UTF-8: Node has other text in their place, so that another file would be meant, or made. */
export function refuseBrokenText(argv: readonly string[], env: NodeJS.ProcessEnv): void {
  const isBroken = (text = '') => text.includes(REPLACEMENT)
  const setting = Object.keys(env).find(name => name.startsWith('MUMI_') && isBroken(env[name]))
  const broken = argv.find(isBroken) ?? setting
  if (broken === undefined) return
  process.stderr.write(`mumi: ${broken}: is not UTF-8\n`)
  process.exit(EXIT_USAGE)
}
