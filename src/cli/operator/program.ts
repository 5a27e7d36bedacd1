/** The commands for operators: what each takes, asks and prints. */
import { Command, CommanderError } from 'commander'
import type { ConfigSources } from '../../config/config.js'
import { EXIT_USAGE } from '../exit-codes.js'
import { splitConfig, splitRemote } from './arguments.js'
import { CommandError } from './ask.js'
import { operatorCommands } from './commands.js'
import { completion } from './completion.js'
import { makeTerminal } from './make-terminal.js'
import { safeLines } from './print.js'
import type { Terminal } from './terminal.js'

const BEHIND = `
Options of all commands:
  --json               print the reply as JSON
  --config FILE, --section.key VALUE
                       the config of the gateway, as for serve; data.dir says which one
  --server URL --token-file FILE
                       a gateway over HTTP instead (admin.http), with a token of mumi admin-token
Exit code: 0 done, 1 refused or failed, 2 wrong usage, 3 no gateway runs.
`

export function makeProgram(terminal: Terminal): Command {
  const program = new Command('mumi').helpCommand(false)
  for (const command of operatorCommands(terminal)) program.addCommand(command)
  program
    .command('completion')
    .description('print a script that completes commands in a shell')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText('after', '\nExample:\n  mumi completion bash > /etc/bash_completion.d/mumi')
    .action((shell: string) => void terminal.stdout.write(completion(program, shell)))
  for (const command of leaves(program)) {
    command.option('--json', 'print the reply as JSON').addHelpText('after', BEHIND)
  }
  for (const command of all(program)) {
    command
      .exitOverride()
      .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'mumi: ')) })
  }
  return program
}

const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)]

/** The commands that do something. */
export const leaves = (command: Command): Command[] =>
  command.commands.length === 0 ? [command] : command.commands.flatMap(leaves)

/** @param words the command and what follows it */
export async function operate(words: readonly string[], env: ConfigSources['env']): Promise<void> {
  try {
    const { config, rest } = splitConfig(words)
    const split = splitRemote(rest)
    await makeProgram(makeTerminal(config, env, split)).parseAsync(split.rest, { from: 'user' })
  } catch (thrown) {
    // Its text is printed already.
    if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? 0 : EXIT_USAGE
    else if (!(thrown instanceof CommandError)) throw thrown
    else {
      process.stderr.write(`mumi: ${safeLines(thrown.message)}\n`)
      process.exitCode = thrown.exitCode
    }
  }
}
