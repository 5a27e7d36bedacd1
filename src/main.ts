#!/usr/bin/env -S node --max-semi-space-size=32 --initial-old-space-size=64
/**
 * The command `mumi`: installs the signal handlers, then loads the modules of the command, which takes most of a start.
 */
import { holdSignals } from './cli/signals.js'

const [name, ...argv] = process.argv.slice(2)
holdSignals(name === 'serve')

/**
 * Help and version work at once, even where native modules do not load.
 */
async function run(): Promise<void> {
  const { refuseOldNode } = await import('./cli/node-version.js')
  refuseOldNode()
  // The log of serve does it for itself.
  if (name !== 'serve') (await import('./cli/output.js')).outliveReaders(process)
  const { refuseBrokenText } = await import('./cli/broken-text.js')
  refuseBrokenText(process.argv.slice(2), process.env)
  const { isOperatorCommand, runOperatorCommand } = await import('./cli/operator/names.js')
  if (isOperatorCommand(name)) {
    process.umask((await import('./core/private-files.js')).PRIVATE_UMASK)
    return runOperatorCommand(process.argv.slice(2), process.env)
  }
  const asks = (...options: string[]) => process.argv.slice(2).some(word => options.includes(word))
  if (asks('-h', '--help')) return (await import('./cli/help.js')).printHelp()
  if (asks('-v', '--version')) return (await import('./cli/version.js')).printVersion()
  // Files that any command creates are private to this user.
  process.umask((await import('./core/private-files.js')).PRIVATE_UMASK)
  const command = (await import('./cli/commands.js')).COMMANDS.get(name)
  if (command === undefined) (await import('./cli/help.js')).printUsage(name)
  else await command({ argv, env: process.env })
}

try {
  await run()
} catch (error) {
  const { fail } = await import('./cli/explain.js')
  fail(error)
}
