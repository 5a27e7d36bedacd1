/** `audit.file` and `log.file` before they are opened. */
import { accessSync, constants, existsSync, mkdirSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { type Config, ConfigError } from '../config/config.js'
import { type Audit, type AuditEvents, openAudit } from '../core/audit.js'
import { lineFileFault } from '../core/line-file.js'

type Name = 'audit' | 'log'

/** @throws ConfigError where lines cannot be appended to one of them */
export function checkLineFiles(config: Config, names: readonly Name[] = ['audit', 'log']): void {
  const faults = names.flatMap(name => {
    const path = config[name].file
    const fault = path === '' ? undefined : (lineFileFault(path) ?? placeFault(path, config.data.dir))
    return fault === undefined ? [] : [`${name}.file: ${fault}`]
  })
  if (faults.length === 0 && isOneFile(config.audit.file, config.log.file))
    faults.push('audit.file: must not be log.file: the audit would be among the lines of the log')
  if (faults.length > 0) throw new ConfigError(faults)
}

/** Whether two paths are the same file, or will be. A device, such as `/dev/stdout`, may get both. */
function isOneFile(a: string, b: string): boolean {
  if (a === '' || b === '') return false
  const [one, other] = [a, b].map(path => statSync(path, { throwIfNoEntry: false }))
  if (one === undefined || other === undefined) return one === other && placeOf(a) === placeOf(b)
  return one.isFile() && one.dev === other.dev && one.ino === other.ino
}

/** Of a file that is not there: its folder may be reached by symbolic links. */
function placeOf(path: string): string {
  const folder = dirname(resolve(path))
  return join(existsSync(folder) ? realpathSync(folder) : folder, basename(path))
}

/** Checks them, and makes their folders in `data.dir`. @throws ConfigError, or the system's error */
export function prepareLineFiles(config: Config, names: readonly Name[] = ['audit', 'log']): void {
  checkLineFiles(config, names)
  for (const { file } of names.map(name => config[name]))
    if (file !== '') mkdirSync(dirname(resolve(file)), { recursive: true })
}

/** @throws ConfigError, or the system's error */
export async function openAuditOf(config: Config, events: AuditEvents): Promise<Audit> {
  prepareLineFiles(config, ['audit'])
  return openAudit(config.audit.file, events, config.log.redact)
}

/** A folder that is made elsewhere would hide that the path has a typo. */
function placeFault(path: string, dataDir: string): string | undefined {
  const folder = dirname(resolve(path))
  try {
    if (existsSync(path)) accessSync(path, constants.W_OK)
    else if (existsSync(folder)) accessSync(folder, constants.W_OK | constants.X_OK)
    else if (/^\.\.(\/|$)/.test(relative(resolve(dataDir), folder)))
      return `the folder ${folder} is not there; make it first (only those in data.dir are made)`
    return undefined
  } catch (thrown) {
    return (thrown as Error).message
  }
}
