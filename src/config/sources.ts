/** Reads config values from files, the environment and the command line. Each source becomes a layer of known keys. */
import { readFileSync } from 'node:fs'
import { checkRegular } from '../core/regular-file.js'
import type { Warn } from './old-server.js'
import { parseConfigFile } from './parse-file.js'
import { envName, KEYS } from './schema.js'

/** The unchecked values of one source, by dotted key. */
export interface Layer {
  /** Where the value of a key was set, for the report of a fault in it. */
  readonly origin: (key: string) => string
  readonly values: ReadonlyMap<string, unknown>
}

/** Variables of the project's own tests, which are not config keys. */
const TEST_PREFIX = 'MUMI_TEST_'

/** Lines about unknown keys. Values of known keys are checked after all layers have been read. */
export type Faults = string[]

/** A name as it was written, or `…` if it cannot be a name: then it may be a secret. */
const shown = (name: string): string => (/^[\w.-]{1,100}$/.test(name) ? name : '…')

/** @returns the files that `--config` names, in order, and the layer of all other options */
export function readArguments(argv: readonly string[], faults: Faults): { files: string[]; layer: Layer } {
  const files: string[] = []
  const values = new Map<string, unknown>()
  const words = [...argv]
  let last = ''
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const [, name, inline] = /^--([^=]+)(?:=(.*))?$/s.exec(word) ?? []
    if (name === undefined) {
      // The word is not shown: it may be a secret, or the rest of one that the shell has split.
      faults.push(
        `unexpected argument${last === '' ? '' : ` behind --${last}`}: options are --section.key VALUE`,
      )
      continue
    }
    last = shown(name)
    const value = inline ?? (words[0]?.startsWith('--') ? undefined : words.shift())
    if (name !== 'config' && !KEYS.has(name)) faults.push(`--${shown(name)}: no such option`)
    else if (value === undefined) faults.push(`--${shown(name)}: needs a value`)
    else if (name === 'config') files.push(value)
    else values.set(name, value)
  }
  return { files, layer: { origin: key => `--${key}`, values } }
}

export function readEnvironment(env: Readonly<Record<string, string | undefined>>, faults: Faults): Layer {
  const keys = new Map(Array.from(KEYS.keys(), key => [envName(key), key]))
  const values = new Map<string, unknown>()
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || !name.startsWith('MUMI_') || name.startsWith(TEST_PREFIX)) continue
    const key = keys.get(name)
    if (key === undefined) faults.push(`${name}: unknown MUMI_ variable: it names no key`)
    else values.set(key, value)
  }
  return { origin: envName, values }
}

/**
 * @param path of a file in one of the formats of parse-file.ts
 * @param isRunning whether a gateway runs in this process, which reading must not stop
 * @param warn see Warn
 */
export function readConfigFile(
  path: string,
  faults: Faults,
  isRunning: boolean,
  warn: Warn = () => undefined,
): Layer {
  const values = new Map<string, unknown>()
  const visit = (node: unknown, name: string): void => {
    // TOML has dates, too.
    const isObject =
      typeof node === 'object' && node !== null && !Array.isArray(node) && !(node instanceof Date)
    if (KEYS.has(name) && !isObject) values.set(name, node)
    else if (KEYS.has(name)) faults.push(`${name}: must be a value, not an object (${path})`)
    else if (name !== '' && !isSection(name)) faults.push(`${shown(name)}: no such key (${path})`)
    else if (!isObject) faults.push(`${name || 'the config'}: must be an object of keys (${path})`)
    else for (const [key, child] of Object.entries(node)) visit(child, name === '' ? key : `${name}.${key}`)
  }
  try {
    if (isRunning) checkRegular(path)
    visit(
      parseConfigFile(path, readFileSync(path, 'utf8'), (line, unlessSet) =>
        warn(`${line} (${path})`, unlessSet),
      ),
      '',
    )
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    faults.push(`cannot read config file ${path}: ${reason}`)
  }
  return { origin: () => path, values }
}

const isSection = (name: string) => Array.from(KEYS.keys()).some(key => key.startsWith(`${name}.`))
