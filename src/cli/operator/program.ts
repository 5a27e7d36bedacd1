/** The commands for operators: what each takes, asks and prints. */
import { Command, CommanderError } from 'commander'
import { type ConfigSources, loadConfig } from '../../config/config.js'
import { EXIT_USAGE } from '../exit-codes.js'
import { splitConfig, splitRemote } from './arguments.js'
import { ask, CommandError, ended } from './ask.js'
import { askRemote } from './ask-remote.js'
import { operatorCommands } from './commands.js'
import { completion } from './completion.js'
import { jsonLine } from './print.js'
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

type Split = ReturnType<typeof splitRemote>

/** @param config words of the config */
function makeTerminal(
  config: readonly string[],
  env: ConfigSources['env'],
  { remote, rest }: Split,
): Terminal {
  const { stdin, stdout } = process
  const isJson = rest.includes('--json')
  const print = (data: unknown, show: (data: never) => string) =>
    void stdout.write(isJson ? jsonLine(data) : show(data as never))
  const load = () => loadConfig({ argv: config, env })
  /** For what is done on the machine of the gateway alone. */
  const loadHere = () => {
    if (remote !== undefined) throw new CommandError('--server: not for this command', EXIT_USAGE)
    return load()
  }
  const run: Terminal['run'] = async (asked, show) => {
    const { waitSeconds } = asked
    if (waitSeconds !== undefined) loadHere()
    const data = await (remote === undefined ? ask(load(), asked) : askRemote(remote, asked))
    print(data, show)
    if (waitSeconds !== undefined) await ended((data as { pid: number }).pid, waitSeconds)
  }
  const restore: Terminal['restore'] = async (file, show) => {
    const { restoreStore } = await import('../../app/stores.js')
    print(await restoreStore(loadHere(), file), show)
  }
  const exportPerson: Terminal['exportPerson'] = async to => {
    const { exportPerson } = await import('./export.js')
    await exportPerson(loadHere(), to)
  }
  const compact: Terminal['compact'] = async show => {
    const { compactStore } = await import('../../app/stores.js')
    print(await compactStore(loadHere()), show)
  }
  const verify: Terminal['verify'] = async show => {
    const { verifyStore } = await import('../../app/stores.js')
    const found = await verifyStore(loadHere())
    print(found, show)
    if (found.faults.length > 0) throw new CommandError(`${found.faults.length} faults`)
  }
  const takeOver: Terminal['takeOver'] = async (from, show) => {
    const { takeAccounts } = await import('./take-accounts.js')
    const report = await takeAccounts(loadHere(), from)
    print(report, show)
    if (report.refused.length > 0) throw new CommandError(`${report.refused.length} accounts were not taken`)
  }
  return { run, restore, verify, compact, exportPerson, takeOver, stdin, stdout }
}

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
      process.stderr.write(`mumi: ${thrown.message}\n`)
      process.exitCode = thrown.exitCode
    }
  }
}
