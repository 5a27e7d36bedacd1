/** The old MumiChat server's conf/app.ini, in our keys. */
import { readFileSync } from 'node:fs'
import { dirname, extname, resolve } from 'node:path'
import { parse } from 'ini'

/** Its log levels: gin's. */
const LEVELS: ReadonlyMap<unknown, string> = new Map([
  ['debug', 'debug'],
  ['release', 'info'],
  ['test', 'info'],
])

/** Told what is understood and has no effect. @param unlessSet a key of ours; where that is set, there is nothing to say */
export type Warn = (line: string, unlessSet?: string) => void

/** Our key, and what makes its value of the old one. */
interface Ours {
  readonly key: string
  readonly value?: (old: string) => string
}

const LOG_LEVEL: Ours = { key: 'log.level', value: old => LEVELS.get(old) ?? old }
const ACCOUNTS =
  'says where the old accounts are; mumi import mumichat takes them, and our store is in data.dir'
const NOTHING = 'has no meaning here'

/** Its keys, in lower case: ours, or why there is none. */
const KEYS: ReadonlyMap<string, Ours | string> = new Map<string, Ours | string>([
  ['app_mode', LOG_LEVEL],
  ['run_mode', LOG_LEVEL],
  ['paths.data', { key: 'data.dir' }],
  ['server.http_port', { key: 'http.port' }],
  ['server.read_timeout', NOTHING],
  ['server.write_timeout', NOTHING],
  ['database.path', ACCOUNTS],
  ['database.name', ACCOUNTS],
  ['database.type', NOTHING],
  ['database.table_prefix', NOTHING],
  ['database.logmode', NOTHING],
])

/**
 * @param warn called for each key that has no effect
 * @returns an object of our keys
 */
export function parseOldConfig(text: string, warn: Warn): object {
  const config: Record<string, Record<string, unknown>> = {}
  for (const [name, value] of settings(text)) {
    const ours = KEYS.get(name.toLowerCase())
    if (typeof ours !== 'object') {
      // The name may be the rest of a secret.
      warn(`${/^[\w.-]{1,100}$/.test(name) ? name : '…'}: ${ours ?? 'is unknown, and has no effect'}`)
      continue
    }
    const [section = '', key = ''] = ours.key.split('.')
    config[section] = { ...config[section], [key]: ours.value?.(value) ?? value }
    if (ours.key === 'http.port')
      warn(
        `${name}: the old server listened on all addresses of the machine; here http.host says on which`,
        'http.host',
      )
  }
  return config
}

/**
 * @returns where the database that an app.ini names may be, likeliest first; undefined if `file` has another ending
 * @throws IniError; the system's error
 */
export function databasesOf(file: string): string[] | undefined {
  if (extname(file).toLowerCase() !== '.ini') return undefined
  const all = new Map(
    settings(readFileSync(file, 'utf8')).map(([name, value]) => [name.toLowerCase(), value]),
  )
  // The old server joined the two without a slash.
  const database = `${all.get('database.path') ?? ''}${all.get('database.name') ?? ''}.db`
  const folder = dirname(resolve(file))
  // It read conf/app.ini of the folder in which it was started, and its paths begin there, too.
  return [...new Set([dirname(folder), folder, process.cwd()].map(from => resolve(from, database)))]
}

/** The message has no piece of the text, which may be part of a secret. */
export class IniError extends Error {
  override readonly name = 'IniError'
}

type Setting = [name: string, value: string]

/** All settings by dotted name. @throws IniError */
function settings(text: string): Setting[] {
  // The parser leaves this name out of what it makes, and the section with it: [__proto__.server] would be [server].
  if (/^[^;#=]*__proto__/m.test(text)) throw new IniError('INI: __proto__ is no name of a section or key')
  return settingsIn(parse(text), '')
}

/** Of a section: one whose name has dots is within another. */
function settingsIn(section: Readonly<Record<string, unknown>>, prefix: string): Setting[] {
  return Object.entries(section).flatMap(([name, value]): Setting[] =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? settingsIn(value as Record<string, unknown>, `${prefix}${name}.`)
      : [[`${prefix}${name}`, String(value)]],
  )
}
