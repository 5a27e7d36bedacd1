/** The names of the commands for operators, apart from the program that runs them, which loads a library. */
import type { ConfigSources } from '../../config/config.js'

const NAMES: ReadonlySet<string | undefined> = new Set([
  'user',
  'export',
  'delete',
  'sessions',
  'inbox',
  'trace',
  'admin-token',
  'stats',
  'log-level',
  'reload',
  'drain',
  'backup',
  'restore',
  'verify',
  'compact',
  'broadcast',
  'import',
  'invite',
  'completion',
])

/** Options that only these commands have, which may stand before the command. */
const REMOTE = /^--(?:server|token-file)(?:=|$)/

/** @param word the first one behind `mumi` */
export const isOperatorCommand = (word: string | undefined): boolean =>
  NAMES.has(word) || REMOTE.test(word ?? '')

/** @param words the command and what follows it */
export async function runOperatorCommand(words: readonly string[], env: ConfigSources['env']): Promise<void> {
  const { operate } = await import('./program.js')
  await operate(words, env)
}
