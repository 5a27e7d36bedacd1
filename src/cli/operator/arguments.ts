/** Tells the config keys on a command line from the options of the command. */

/** Config keys and options of the config without a dot in the name. */
const PLAIN = new Set(['config', 'locale'])

export interface Words {
  /** `--section.key VALUE` and `--config FILE`, for loadConfig. */
  readonly config: readonly string[]
  /** All other words, in their order. */
  readonly rest: readonly string[]
}

/** Words behind `--` are no options. */
export function splitConfig(argv: readonly string[]): Words {
  const [config, rest]: [string[], string[]] = [[], []]
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? ''
    if (word === '--') return { config, rest: [...rest, ...argv.slice(at)] }
    const [, name = '', inline] = /^--([^=]+)(=)?/.exec(word) ?? []
    if (!name.includes('.') && !PLAIN.has(name)) rest.push(word)
    else {
      config.push(word)
      const value = argv[at + 1]
      if (inline === undefined && value !== undefined && !value.startsWith('--')) {
        config.push(value)
        at++
      }
    }
  }
  return { config, rest }
}
