import { type ConfigSources, configFiles, loadConfig } from '../config/config.js'
import { writableFault } from '../core/private-files.js'

export async function check(sources: ConfigSources): Promise<void> {
  const ignored: string[] = []
  const config = loadConfig({ ...sources, warn: line => ignored.push(line) })
  const { checkStore } = await import('../app/stores.js')
  const { checkLineFiles, checkTls, exposedBy, fileLimitFault, risks } = await import('../app/checks.js')
  checkTls(config)
  checkLineFiles(config)
  process.stdout.write(`config is good; ${await checkStore(config)}\n`)
  const warnings = exposedBy(config, false).map(
    ({ path, mode }) => `${path}: others may read it (mode ${mode}); serve takes that away where it may`,
  )
  for (const warning of [
    ignored,
    fileLimitFault(config) ?? [],
    writableFault(config.data.dir) ?? [],
    warnings,
    risks(config, configFiles(sources)),
  ].flat())
    process.stderr.write(`mumi: warning: ${warning}\n`)
}
