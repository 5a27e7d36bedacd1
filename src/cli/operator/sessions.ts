/** mumi sessions … */
import { Command } from 'commander'
import { RANGES } from '../../protocol/admin-ranges.js'
import { asNumber } from './input.js'
import { listing, type Row } from './print.js'
import type { Terminal } from './terminal.js'

const COLUMNS = ['user', 'session', 'front', 'kind', 'role', 'device', 'address', 'online', 'since']

interface Listed {
  readonly sessions: readonly Row[]
  readonly total: number
}

export function sessionCommands(terminal: Terminal): Command[] {
  const sessions = new Command('sessions').description('logins and connections').helpCommand(false)
  sessions
    .command('list')
    .description(
      'list connections; of one account, also logins by token or credential that are not connected',
    )
    .argument('[user]', 'id, email or user name')
    .option('--limit <n>', 'at most so many (1 to 10000)', asNumber(RANGES['session.list'].limit), 1000)
    .addHelpText('after', '\nExamples:\n  mumi sessions list\n  mumi sessions list ann@example.com --json')
    .action((user: string | undefined, { limit }: { limit: number }) =>
      terminal.run({ name: 'session.list', data: { user, limit }, idle: 'never' }, (data: Listed) => {
        const more = data.total > data.sessions.length ? `${data.total} in all\n` : ''
        return `${listing(data.sessions, COLUMNS, 'No sessions.')}${more}`
      }),
    )
  sessions
    .command('kick')
    .description('end the connections of an account, or one of them')
    .argument('<user>', 'id, email or user name')
    .argument('[session]', 'a session from the list')
    .option('--revoke', 'tokens and credentials are void, too; without, clients may come back at once')
    .addHelpText('after', '\nExample:\n  mumi sessions kick ann@example.com --revoke')
    .action((user: string, session: string | undefined, { revoke }: { revoke?: true }) =>
      terminal.run(
        { name: 'session.kick', data: { user, session, revoke }, idle: 'never' },
        ({ ended, revoked }: Row) => `${ended} sessions ended, ${revoked} of them revoked\n`,
      ),
    )
  return [sessions]
}
