/** `audit.file` and `log.file` before they are opened. */
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
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
  if (faults.length > 0) throw new ConfigError(faults)
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
