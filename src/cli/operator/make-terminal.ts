/** What commands do, by the gateway or on its store, and how they print it. */
import { type Config, type ConfigSources, loadConfig } from '../../config/config.js'
import { EXIT_USAGE } from '../exit-codes.js'
import { Progress } from '../progress.js'
import type { splitRemote } from './arguments.js'
import { type Asked, ask, CommandError, ended } from './ask.js'
import { askRemote } from './ask-remote.js'
import { jsonLine } from './print.js'
import type { Terminal } from './terminal.js'

type Split = ReturnType<typeof splitRemote>

/** What another program answers may be anything. @throws CommandError where it is not what `show` knows */
export function shown(data: unknown, show: (data: never) => string): string {
  try {
    return show(data as never)
  } catch (thrown) {
    if (!(thrown instanceof TypeError || thrown instanceof RangeError)) throw thrown
    throw new CommandError(
      `the answer is not that of a gateway of this version; --json prints it (${thrown.message})`,
    )
  }
}

/**
 * @param files of a backup or restore, in which each that is missing or damaged has a line
 * @throws CommandError if one has
 */
function refuseFaults(files: unknown, done: string): void {
  const { faults } = Object(files) as { readonly faults?: unknown }
  if (Array.isArray(faults) && faults.length > 0)
    throw new CommandError(`${faults.length} files are missing or damaged; all else is ${done}`)
}

/** @param config words of the config */
export function makeTerminal(
  config: readonly string[],
  env: ConfigSources['env'],
  { remote, rest }: Split,
): Terminal {
  const { stdin, stdout } = process
  const isJson = rest.includes('--json')
  const print = (data: unknown, show: (data: never) => string) =>
    void stdout.write(isJson ? jsonLine(data) : shown(data, show))
  const progressOf = (what: string, unit: string) =>
    new Progress(what, { unit, output: process.stderr, isQuiet: isJson })
  const load = () => loadConfig({ argv: config, env })
  /** For what is done on the machine of the gateway alone. */
  const loadHere = () => {
    if (remote !== undefined) throw new CommandError('--server: not for this command', EXIT_USAGE)
    return load()
  }
  const askHere = async (here: Config, asked: Asked) => {
    if (asked.name !== 'backup') return ask(here, asked)
    const { backupSize } = await import('../../app/growing.js')
    const { file } = asked.data as { file: string }
    return progressOf('backup', 'bytes').watch(
      () => backupSize(here, file),
      () => ask(here, asked),
    )
  }
  const run: Terminal['run'] = async (asked, show) => {
    const { waitSeconds } = asked
    if (waitSeconds !== undefined) loadHere()
    const data = await (remote === undefined ? askHere(load(), asked) : askRemote(remote, asked))
    print(data, show)
    if (asked.name === 'backup') refuseFaults(Object(data).files, 'in the backup')
    if (waitSeconds !== undefined) await ended((data as { pid: number }).pid, waitSeconds)
  }
  const restore: Terminal['restore'] = async (file, show) => {
    const { restoreStore } = await import('../../app/whole-store.js')
    const { restoreSize } = await import('../../app/growing.js')
    const here = loadHere()
    let ofFiles = 0
    const done = await progressOf('restore', 'bytes').watch(
      () => (ofFiles > 0 ? { done: ofFiles, detail: 'files' } : restoreSize(here, file)),
      () => restoreStore(here, file, bytes => (ofFiles = bytes)),
    )
    print(done, show)
    refuseFaults(done.files, 'restored')
  }
  const exportPerson: Terminal['exportPerson'] = async to => {
    const { exportPerson } = await import('./export.js')
    await exportPerson(loadHere(), to)
  }
  const compact: Terminal['compact'] = async show => {
    const { compactStore } = await import('../../app/whole-store.js')
    const { compactSize } = await import('../../app/growing.js')
    const here = loadHere()
    const done = await progressOf('compact', 'bytes').watch(
      () => compactSize(here),
      () => compactStore(here),
    )
    print(done, show)
  }
  const verify: Terminal['verify'] = async show => {
    const { verifyStore } = await import('../../app/whole-store.js')
    const progress = progressOf('verify', 'rows')
    const onRow = (rows: number) => progress.at(rows)
    const found = await verifyStore(loadHere(), onRow).finally(() => progress.clear())
    print(found, show)
    if (found.faults.length > 0) throw new CommandError(`${found.faults.length} faults`)
  }
  const takeOver: Terminal['takeOver'] = async (from, show) => {
    const { takeAccounts } = await import('./take-accounts.js')
    const progress = progressOf('import', 'accounts')
    const onTaken = (done: number, of: number) => progress.at(done, of)
    const report = await takeAccounts(loadHere(), from, onTaken).finally(() => progress.clear())
    print(report, show)
    if (report.refused.length > 0) throw new CommandError(`${report.refused.length} accounts were not taken`)
  }
  return { run, restore, verify, compact, exportPerson, takeOver, stdin, stdout }
}
