/** mumi invite … */
import { Command } from 'commander'
import { RANGES } from '../../protocol/admin-ranges.js'
import { secondsOf } from './age.js'
import { asNumber } from './input.js'
import { lines, listing, type Row } from './print.js'
import type { Terminal } from './terminal.js'

const COLUMNS = ['id', 'uses', 'used', 'created_at', 'expires_at']

const create = (terminal: Terminal): Command =>
  new Command('create')
    .description('make an invite and print its code, which is not stored')
    .option(
      '--uses <n>',
      'accounts that may be made by it (1 to 1000000)',
      asNumber(RANGES['invite.create'].uses),
      1,
    )
    .option('--expires <age>', 'how long it is good (12h, 7d), or never', '7d')
    .addHelpText('after', '\nExample:\n  mumi invite create --uses 20 --expires 14d')
    .action(async ({ uses, expires }: { uses: number; expires: string }) => {
      const seconds =
        expires === 'never' ? undefined : secondsOf('--expires', expires, RANGES['invite.create'].seconds)
      const data = { uses, seconds }
      await terminal.run({ name: 'invite.create', data, idle: 'make' }, lines)
    })

const list = (terminal: Terminal): Command =>
  new Command('list')
    .description('list the invites that have not expired')
    .addHelpText('after', '\nExample:\n  mumi invite list --json')
    .action(() =>
      terminal.run(
        { name: 'invite.list', data: {}, idle: 'open' },
        ({ invites }: { invites: readonly Row[] }) => listing(invites, COLUMNS, 'No invites.'),
      ),
    )

const revoke = (terminal: Terminal): Command =>
  new Command('revoke')
    .description('make an invite void; accounts that were made by it stay')
    .argument('<invite>', 'its id or its code')
    .addHelpText('after', '\nExample:\n  mumi invite revoke 3fK0aQz_')
    .action((invite: string) =>
      terminal.run(
        { name: 'invite.revoke', data: { invite }, idle: 'open' },
        ({ id }: Row) => `revoked ${id}\n`,
      ),
    )

export function inviteCommands(terminal: Terminal): Command[] {
  const invite = new Command('invite')
    .description('codes by which people may register (accounts.registration = invite)')
    .helpCommand(false)
  for (const command of [create(terminal), list(terminal), revoke(terminal)]) invite.addCommand(command)
  return [invite]
}
