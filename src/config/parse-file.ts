/** The formats of config files, told apart by the ending of the name. */
import { extname } from 'node:path'
import JSON5 from 'json5'
import { parse as parseToml, TomlError } from 'smol-toml'
import { parseDocument } from 'yaml'
import { parseOldConfig, type Warn } from './old-server.js'

/**
 * @param path its ending says what it is: `.yaml` and `.yml` are YAML 1.2, `.toml` is TOML 1.0, `.ini` the old server's app.ini, all
 * others JSON5, which JSON is, too
 * @param warn see Warn
 * @returns what the text says
 * @throws Error whose message has the place and no piece of the text, which may be part of a secret
 */
export function parseConfigFile(path: string, text: string, warn: Warn = () => undefined): unknown {
  switch (extname(path).toLowerCase()) {
    case '.yaml':
    case '.yml':
      return yaml(text)
    case '.toml':
      return toml(text)
    case '.ini':
      return parseOldConfig(text, warn)
    default:
      return json5(text)
  }
}

function json5(text: string): unknown {
  try {
    return JSON5.parse(text)
  } catch (error) {
    // The message contains the unexpected character.
    const reason = error instanceof Error ? error.message.replace(/ '.*'(?= at \d)/s, '') : String(error)
    throw new Error(reason)
  }
}

function yaml(text: string): unknown {
  const document = parseDocument(text)
  const [fault] = [...document.errors, ...document.warnings]
  if (fault === undefined) return document.toJS()
  const [at] = fault.linePos ?? []
  throw new Error(`YAML: ${fault.code}${place(at?.line, at?.col)}`)
}

function toml(text: string): unknown {
  try {
    return parseToml(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw new Error('TOML: not valid')
    throw new Error(`TOML: not valid${place(error.line, error.column)}`)
  }
}

const place = (line: number | undefined, column: number | undefined): string =>
  line === undefined ? '' : ` at ${line}:${column}`
