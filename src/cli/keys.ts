import { type Config, ConfigError, type ConfigSources, loadConfig } from '../config/config.js'

/** `rotate` or `show`, and the words of each, which are no options of the config. */
export async function keys({ argv: [verb, ...rest], env }: ConfigSources): Promise<void> {
  const words = verb === 'rotate' ? ['--now', '--greeting'] : []
  const argv = rest.filter(word => !words.includes(word))
  const has = (word: string) => words.includes(word) && rest.includes(word)
  if (verb === 'show') await show(loadConfig({ argv, env }))
  else if (verb !== 'rotate')
    throw new ConfigError(['keys: must be keys rotate or keys show; see mumi --help'])
  else if (has('--greeting')) await rotateGreeting(loadConfig({ argv, env }), has('--now'))
  else await rotate(loadConfig({ argv, env }), has('--now'))
}

async function show(config: Config): Promise<void> {
  const { showGreetingKey } = await import('../app/keys.js')
  process.stdout.write(`${await showGreetingKey(config)}\n`)
}

async function rotate(config: Config, isNow: boolean): Promise<void> {
  const { rotateKeys } = await import('../app/keys.js')
  await rotateKeys(config, isNow ? 'refuse' : 'verify')
  process.stdout.write(
    `a new key signs tokens; those before are ${isNow ? 'void' : 'good until they expire'}\n`,
  )
}

async function rotateGreeting(config: Config, isNow: boolean): Promise<void> {
  if (isNow) throw new ConfigError(['keys: --now is for tokens; without it the key before is void, too'])
  const { rotateGreetingKey } = await import('../app/keys.js')
  const key = await rotateGreetingKey(config)
  process.stdout.write(`the greeting has a new key, which clients that keep the one before refuse:\n${key}\n`)
}
