import { ConfigError, type ConfigSources, loadConfig } from '../config/config.js'

export async function keys({ argv: [verb, ...rest], env }: ConfigSources): Promise<void> {
  if (verb !== 'rotate') throw new ConfigError(['keys: must be keys rotate; see mumi --help'])
  const argv = rest.filter(word => word !== '--now')
  const isNow = argv.length < rest.length
  const { rotateKeys } = await import('../app/keys.js')
  await rotateKeys(loadConfig({ argv, env }), isNow ? 'refuse' : 'verify')
  process.stdout.write(
    `a new key signs tokens; those before are ${isNow ? 'void' : 'good until they expire'}\n`,
  )
}
