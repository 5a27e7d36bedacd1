import { ConfigError, type ConfigSources, loadConfig } from '../config/config.js'
import { Progress } from './progress.js'

const STORES = ['embedded', 'mongodb'] as const

export async function copy({ argv, env }: ConfigSources): Promise<void> {
  const rest = [...argv]
  const take = (option: string) => {
    const at = rest.indexOf(option)
    const [, name] = at === -1 ? [] : rest.splice(at, 2)
    const store = STORES.find(one => one === name)
    if (store === undefined) throw new ConfigError([`${option}: must be one of ${STORES.join(', ')}`])
    return store
  }
  const ends = { from: take('--from'), to: take('--to') }
  if (ends.from === ends.to) throw new ConfigError(['--from, --to: must differ'])
  // Validated as a config of the target store.
  const config = loadConfig({ argv: [...rest, `--store.type=${ends.to}`], env })
  const { copyStores } = await import('../app/stores.js')
  const progress = new Progress('copy', { unit: 'entries', output: process.stderr })
  const say = (line: string) => {
    progress.clear()
    process.stdout.write(`${line}\n`)
  }
  const onCopied = (what: string, count: number) => progress.at(count, undefined, what)
  await copyStores(config, ends, say, onCopied).finally(() => progress.clear())
  say('copied')
}
