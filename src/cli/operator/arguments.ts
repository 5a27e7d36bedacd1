/** Tells the config keys on a command line, and where the gateway is, from the options of the command. */
import { EXIT_USAGE } from '../exit-codes.js'
import { CommandError } from './ask.js'

/** Config keys and options of the config without a dot in the name. */
const PLAIN = new Set(['config', 'locale'])

/** A gateway that is asked over HTTP. */
export interface Remote {
  readonly server: string
  readonly tokenFile: string
}

/** Takes `--server URL` and `--token-file FILE` out of the words. @throws CommandError if there is one of the two alone */
export function splitRemote(argv: readonly string[]): {
  remote: Remote | undefined
  rest: readonly string[]
} {
  const found = new Map<string, string>()
  const rest: string[] = []
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? ''
    if (word === '--') return { remote: remoteOf(found), rest: [...rest, ...argv.slice(at)] }
    const [, name = '', inline] = /^--(server|token-file)(?:=(.*))?$/.exec(word) ?? []
    if (name === '') rest.push(word)
    else found.set(name, inline ?? argv[++at] ?? '')
  }
  return { remote: remoteOf(found), rest }
}

function remoteOf(found: ReadonlyMap<string, string>): Remote | undefined {
  if (found.size === 0) return undefined
  const [server = '', tokenFile = ''] = [found.get('server'), found.get('token-file')]
  if (server === '' || tokenFile === '')
    throw new CommandError('--server URL and --token-file FILE: both or none of them', EXIT_USAGE)
  return { server, tokenFile }
}

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
