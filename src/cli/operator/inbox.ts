/** mumi inbox … and mumi trace */
import { Command } from 'commander'
import { RANGES } from '../../protocol/admin-ranges.js'
import { EXIT_USAGE } from '../exit-codes.js'
import { age, timeBefore } from './age.js'
import { CommandError } from './ask.js'
import { asNumber, confirm } from './input.js'
import { lines, listing, type Row, safe, table } from './print.js'
import type { Terminal } from './terminal.js'

const USER = 'id, email or user name'
const DEVICES = [
  'device',
  'online',
  'confirmed_seq',
  'sent_seq',
  'unconfirmed',
  'unconfirmed_bytes',
  'oldest',
  'seen_at',
]
const HEADS = ['seq', 'id', 'from', 'at', 'bytes']
const TRACE = ['user', 'seq', 'device', 'state', 'online']

interface Shown {
  readonly user: string
  readonly inbox: Row
  readonly devices: readonly Row[]
  readonly devices_total: number
  readonly messages?: readonly Row[]
  readonly next?: number
}

interface Traced extends Row {
  readonly inboxes: readonly (Row & { readonly devices: readonly Row[] })[]
}

/** JSON clients that name no device share one. */
const named = (row: Row): Row => ({ ...row, device: row.device === '' ? '(default)' : row.device })

function printShown({ user, inbox, devices, devices_total, messages, next }: Shown): string {
  const rows = devices.map(row => {
    const oldest = Number(row.unconfirmed) > 0 ? age(Number(row.oldest_seconds)) : ''
    return { ...named(row), oldest }
  })
  const columns = messages?.some(row => 'content' in row) ? [...HEADS, 'content'] : HEADS
  return [
    lines({ user, ...inbox }),
    '\n',
    devices.length > 0 ? table(rows, DEVICES) : 'No device has read it yet.\n',
    devices_total > devices.length ? `${devices_total} devices in all; these are farthest behind\n` : '',
    messages === undefined ? '' : `\n${listing(messages, columns, 'No messages.')}`,
    next === undefined ? '' : `More: --after ${next}\n`,
  ].join('')
}

function show(terminal: Terminal): Command {
  return new Command('show')
    .description('show what waits in an inbox, for each device of its owner')
    .argument('<user>', USER)
    .option(
      '--messages <n>',
      'also the heads of so many messages (1 to 1000), oldest first',
      asNumber(RANGES['inbox.show'].messages),
    )
    .option(
      '--after <seq>',
      'those behind this one; default: what the slowest device has confirmed',
      asNumber(RANGES['inbox.show'].after),
    )
    .option('--text', 'with their contents; the audit has a line of its own for it')
    .addHelpText(
      'after',
      '\nExamples:\n  mumi inbox show ann@example.com\n  mumi inbox show ann@example.com --messages 20',
    )
    .action((user: string, { messages, after, text }) =>
      terminal.run(
        { name: 'inbox.show', data: { user, messages: messages ?? (text && 10), after, text }, idle: 'open' },
        printShown,
      ),
    )
}

interface PurgeOptions {
  readonly before?: string
  readonly older?: string
  readonly all?: true
  readonly yes?: true
}

function purge(terminal: Terminal): Command {
  return new Command('purge')
    .description('remove messages from an inbox, confirmed or not, for good; connections stay')
    .argument('<user>', USER)
    .option('--before <time>', 'those sent before it, as 2026-01-31 or 2026-01-31T12:00:00Z')
    .option('--older <age>', 'those older than it: 90s, 15m, 12h, 30d')
    .option('--all', 'all that are there now')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      '\nExamples:\n  mumi inbox purge ann@example.com --older 30d\n  mumi inbox purge lamp@example.com --all --yes',
    )
    .action(async (user: string, { before, older, all, yes }: PurgeOptions) => {
      if ([before, older, all].filter(one => one !== undefined).length !== 1)
        throw new CommandError('inbox purge: one of --before, --older and --all', EXIT_USAGE)
      const time = older === undefined ? before : timeBefore(older)
      const what = all ? 'all messages' : `messages sent before ${safe(time)}`
      if (!yes)
        await confirm(
          `Remove ${what} from the inbox of ${safe(user)}, for good?`,
          terminal.stdin,
          terminal.stdout,
        )
      await terminal.run(
        { name: 'inbox.purge', data: { user, before: time, all }, idle: 'open', isLong: true },
        ({ removed, dropped, left }: Row) =>
          `${removed} messages removed, ${dropped} of them unconfirmed by some device; ${left} left\n`,
      )
    })
}

function trace(terminal: Terminal): Command {
  return new Command('trace')
    .description(
      'say where a message is: in which inboxes, and for each device whether it was sent and confirmed',
    )
    .argument('<message id>', 'a UUID, as replies, logs and `inbox show` have it')
    .option('--user <user>', 'look into this inbox alone, which is quicker')
    .addHelpText('after', '\nExample:\n  mumi trace 0198c3f1-9a2b-7c3d-8e4f-5a6b7c8d9e0f')
    .action((id: string, { user }: { user?: string }) =>
      terminal.run(
        { name: 'message.trace', data: { id, user }, idle: 'open', isLong: true },
        ({ inboxes, ...head }: Traced) => {
          const rows = inboxes.flatMap(({ user, seq, devices }) =>
            devices.length > 0
              ? devices.map(device => ({ user, seq, ...named(device) }))
              : [{ user, seq, device: '', state: 'waiting: no device yet' }],
          )
          return `${lines(head)}\n${table(rows, TRACE)}`
        },
      ),
    )
}

export function inboxCommands(terminal: Terminal): Command[] {
  const inbox = new Command('inbox').description('inboxes: also where no gateway runs').helpCommand(false)
  for (const command of [show(terminal), purge(terminal)]) inbox.addCommand(command)
  return [inbox, trace(terminal)]
}
