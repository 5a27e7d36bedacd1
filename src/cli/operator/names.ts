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

export const isOperatorCommand = (name: string | undefined): boolean => NAMES.has(name)

/** @param words the command and what follows it */
export async function runOperatorCommand(words: readonly string[], env: ConfigSources['env']): Promise<void> {
  const { operate } = await import('./program.js')
  await operate(words, env)
}
