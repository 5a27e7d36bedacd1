/** mumi admin-token … */
import { Command } from 'commander'
import { secondsOf } from './age.js'
import { listing, type Row, safe } from './print.js'
import type { Terminal } from './terminal.js'

const COLUMNS = ['name', 'role', 'created_at', 'expires_at', 'expired']

/** A token that has expired already is none. */
const LIFETIME = { minimum: 1, maximum: 999_999 * 86_400 }

interface CreateOptions {
  readonly role: string
  readonly expires: string
}

function create(terminal: Terminal): Command {
  return new Command('create')
    .description(
      'make a token for administration over HTTP (admin.http), and print it: it is never shown again',
    )
    .argument('<name>', 'who or what has it; the audit tells the name')
    .option(
      '--role <role>',
      'viewer (looks), operator (kick, broadcast, reload …) or admin (accounts, too)',
      'viewer',
    )
    .option('--expires <age>', 'how long it is good: 12h, 90d, or never', '90d')
    .addHelpText(
      'after',
      '\nExample:\n  (umask 077; mumi admin-token create night-shift --role operator > token)',
    )
    .action((name: string, { role, expires }: CreateOptions) => {
      const time =
        expires === 'never'
          ? undefined
          : new Date(Date.now() + secondsOf('--expires', expires, LIFETIME) * 1000).toISOString()
      return terminal.run(
        { name: 'admin-token.create', data: { name, role, expires: time }, idle: 'open' },
        // Nothing else, so that it can go into a file.
        ({ token }: Row) => `${token}\n`,
      )
    })
}

const list = (terminal: Terminal): Command =>
  new Command('list')
    .description('list tokens, also those that have expired')
    .addHelpText('after', '\nExample:\n  mumi admin-token list')
    .action(() =>
      terminal.run(
        { name: 'admin-token.list', data: {}, idle: 'open' },
        ({ tokens }: { tokens: readonly Row[] }) => listing(tokens, COLUMNS, 'No tokens.'),
      ),
    )

const revoke = (terminal: Terminal): Command =>
  new Command('revoke')
    .description('make a token void at once')
    .argument('<name>', 'its name')
    .addHelpText('after', '\nExample:\n  mumi admin-token revoke night-shift')
    .action((name: string) =>
      terminal.run(
        { name: 'admin-token.revoke', data: { name }, idle: 'open' },
        (data: Row) => `revoked ${safe(data.name)}\n`,
      ),
    )

export function tokenCommands(terminal: Terminal): Command[] {
  const tokens = new Command('admin-token')
    .description('tokens for administration over HTTP: also where no gateway runs')
    .helpCommand(false)
  for (const command of [create(terminal), list(terminal), revoke(terminal)]) tokens.addCommand(command)
  return [tokens]
}
