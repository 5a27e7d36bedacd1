/** mumi import … */
import { Command } from 'commander'
import { asPath } from './input.js'
import { type Row, table } from './print.js'
import type { Terminal } from './terminal.js'

/** See takeAccounts. */
interface Report {
  readonly dryRun: boolean
  readonly taken: number
  readonly there: number
  readonly withoutPassword: readonly Row[]
  readonly refused: readonly Row[]
}

const COLUMNS = ['row', 'id', 'email', 'reason']

/** Rows of a table that somebody may read. */
const MAX_ROWS = 1000

const more = (count: number) => (count > MAX_ROWS ? `and ${count - MAX_ROWS} more (--json has all)\n` : '')

function show({ dryRun, taken, there, withoutPassword, refused }: Report): string {
  const rows = (title: string, all: readonly Row[], columns: readonly string[]) =>
    all.length === 0 ? '' : `${title}:\n${table(all.slice(0, MAX_ROWS), columns)}${more(all.length)}\n`
  return [
    rows('Not taken', refused, COLUMNS),
    rows('Without a password (mumi user reset-password)', withoutPassword, COLUMNS.slice(0, -1)),
    `${taken} accounts ${dryRun ? 'would be ' : ''}taken, ${there} were there already, ${refused.length} not taken\n`,
  ].join('')
}

export function importCommands(terminal: Terminal): Command[] {
  const all = new Command('import').description('accounts of another server').helpCommand(false)
  const mumichat = new Command('mumichat')
    .description(
      'take the accounts of the old MumiChat server, with their ids and passwords; run it again to go on',
    )
    .argument('<file>', 'its database (chat.db), or its app.ini, which says where that is', asPath)
    .option('--dry-run', 'only say what would be done')
    .addHelpText(
      'after',
      '\nExamples:\n  mumi import mumichat /srv/mumichat/chat.db --dry-run\n  mumi import mumichat /srv/mumichat/conf/app.ini',
    )
    .action((file: string, { dryRun = false }: { dryRun?: boolean }) =>
      terminal.takeOver({ file, isDry: dryRun }, show),
    )
  all.addCommand(mumichat)
  return [all]
}
