import { ConfigError, type ConfigSources, printConfig } from '../config/config.js'
import { configTable, defaultFile } from '../config/docs.js'

/** Prints the effective config, or one of the documents that are generated from the schema. */
export function config(sources: ConfigSources): void {
  process.stdout.write(text(sources))
}

function text(sources: ConfigSources): string {
  const document = sources.argv.find(word => word === '--docs' || word === '--defaults')
  if (document !== undefined && sources.argv.length > 1)
    throw new ConfigError([`${document}: only by itself`])
  if (document === '--docs') return configTable()
  if (document === '--defaults') return defaultFile()
  return `${printConfig(sources)}\n`
}
