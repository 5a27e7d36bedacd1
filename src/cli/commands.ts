import type { ConfigSources } from '../config/config.js'

type Run = (sources: ConfigSources) => unknown

/**
 * Name → the command. Each loads only what it needs: config works at once, even where native modules do not load.
 */
export const COMMANDS: ReadonlyMap<string | undefined, Run> = new Map<string, Run>([
  ['serve', async sources => (await import('./serve.js')).serve(sources)],
  ['config', async sources => (await import('./config.js')).config(sources)],
  ['check', async sources => (await import('./check.js')).check(sources)],
  ['copy', async sources => (await import('./copy.js')).copy(sources)],
  ['keys', async sources => (await import('./keys.js')).keys(sources)],
  ['chat', async sources => (await import('./chat.js')).chat(sources)],
])
