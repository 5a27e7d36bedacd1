/** mumi user … */
import { Command } from 'commander'
import { RANGES } from '../../protocol/admin-ranges.js'
import { EXIT_USAGE } from '../exit-codes.js'
import { CommandError } from './ask.js'
import { asNumber, confirm, readPassword } from './input.js'
import { lines, listing, type Row, safe } from './print.js'
import type { Terminal } from './terminal.js'

const USER = 'id, email or user name'
const COLUMNS = ['id', 'email', 'username', 'role', 'disabled', 'online', 'created_at']

interface Listed {
  readonly users: readonly Row[]
  readonly next?: string
}

function list(terminal: Terminal): Command {
  return new Command('list')
    .description('list accounts, oldest first')
    .option('--role <role>', 'only accounts with this role (admin)')
    .option('--disabled', 'only disabled accounts')
    .option('--limit <n>', 'at most so many (1 to 1000)', asNumber(RANGES['user.list'].limit), 100)
    .option('--after <id>', 'begin behind this account')
    .addHelpText('after', '\nExamples:\n  mumi user list\n  mumi user list --role admin --json')
    .action(({ json: _, ...data }) =>
      terminal.run({ name: 'user.list', data, idle: 'open' }, ({ users, next }: Listed) => {
        const more = next === undefined ? '' : `There may be more: mumi user list --after ${next}\n`
        const isOfAll = data.role === undefined && data.disabled === undefined && data.after === undefined
        return `${listing(users, COLUMNS, isOfAll ? 'No accounts yet.' : 'No such accounts.')}${more}`
      }),
    )
}

function show(terminal: Terminal): Command {
  return new Command('show')
    .description('show an account, its logins and its inbox')
    .argument('<user>', USER)
    .addHelpText('after', '\nExample:\n  mumi user show ann@example.com')
    .action((user: string) => terminal.run({ name: 'user.show', data: { user }, idle: 'open' }, lines))
}

interface CreateOptions {
  readonly admin?: true
  readonly passwordStdin?: true
  readonly firstName?: string
  readonly lastName?: string
  readonly username?: string
}

function create(terminal: Terminal): Command {
  return new Command('create')
    .description('make an account; prints the password that it makes, unless one comes on stdin')
    .argument('<email>', 'email')
    .option('--admin', 'with the role admin')
    .option('--password-stdin', 'read the password from the first line of stdin')
    .option('--first-name <name>', 'default: what stands before the @')
    .option('--last-name <name>', 'default: -')
    .option('--username <name>', 'default: none')
    .addHelpText(
      'after',
      '\nExamples:\n  mumi user create ann@example.com --admin\n  pass show chat/bob | mumi user create bob@example.com --password-stdin',
    )
    .action(async (email: string, options: CreateOptions) => {
      const { admin, passwordStdin, firstName, lastName, username } = options
      const password = passwordStdin && (await readPassword(terminal.stdin))
      const data = { email, password, firstName, lastName, username, role: admin && 'admin' }
      await terminal.run({ name: 'user.create', data, idle: 'make' }, lines)
    })
}

/** A command that takes an account and nothing else. */
function simple(terminal: Terminal, verb: string, description: string, done: (data: Row) => string): Command {
  return new Command(verb)
    .description(description)
    .argument('<user>', USER)
    .addHelpText('after', `\nExample:\n  mumi user ${verb} ann@example.com`)
    .action((user: string) => terminal.run({ name: `user.${verb}`, data: { user }, idle: 'open' }, done))
}

const named = ({ id, email }: Row): string => `${id} (${safe(email)})`

/** The account as an argument or, as in `mumi delete --user ann@example.com`, as an option. */
function accountIn(words: string[], user: string | undefined): [user: string, rest: string[]] {
  const [first, ...rest] = user === undefined ? words : [user, ...words]
  if (first === undefined) throw new CommandError(`missing: ${USER}`, EXIT_USAGE)
  return [first, rest]
}

/** `mumi user delete`, and `mumi delete` in short. */
function remove(terminal: Terminal, path: string): Command {
  return new Command('delete')
    .description('delete an account, its inbox and its logins, for good')
    .argument('[user]', USER)
    .option('--user <user>', 'the same')
    .option('--yes', 'do not ask')
    .addHelpText('after', `\nExample:\n  mumi ${path} ann@example.com --yes`)
    .action(async (word: string | undefined, options: { yes?: true; user?: string }) => {
      const { yes } = options
      const [user] = accountIn(word === undefined ? [] : [word], options.user)
      if (!yes) await confirm(`Delete ${safe(user)}, for good?`, terminal.stdin, terminal.stdout)
      await terminal.run(
        { name: 'user.delete', data: { user }, idle: 'open' },
        (data: Row) => `deleted ${named(data)}\n`,
      )
    })
}

function resetPassword(terminal: Terminal): Command {
  return new Command('reset-password')
    .description('give an account a new password and end its logins; prints the password that it makes')
    .argument('<user>', USER)
    .option('--password-stdin', 'read the password from the first line of stdin')
    .option('--keep-devices', 'credentials of devices stay good')
    .option('--mail', 'send a letter instead, by which the owner sets one; until then nothing changes')
    .addHelpText('after', '\nExample:\n  mumi user reset-password ann@example.com --keep-devices')
    .action(async (user: string, options: { passwordStdin?: true; keepDevices?: true; mail?: true }) => {
      const password = options.passwordStdin && (await readPassword(terminal.stdin))
      const data = { user, password, keepDevices: options.keepDevices, mail: options.mail }
      await terminal.run({ name: 'user.reset-password', data, idle: 'open' }, lines)
    })
}

function rename(terminal: Terminal): Command {
  return new Command('rename')
    .description('give an account another user name, or none; the one before is kept from others for a time')
    .argument('<user>', USER)
    .argument('[username]', 'the new user name; default: none', '')
    .addHelpText('after', '\nExample:\n  mumi user rename ann@example.com ann')
    .action((user: string, username: string) =>
      terminal.run({ name: 'user.rename', data: { user, username }, idle: 'open' }, (data: Row) =>
        data.username === ''
          ? `${named(data)} has no user name now\n`
          : `${named(data)} is ${safe(data.username)} now\n`,
      ),
    )
}

/** Grants or takes a role. */
function role(terminal: Terminal, verb: 'grant' | 'revoke-role', description: string): Command {
  return new Command(verb)
    .description(description)
    .argument('<user>', USER)
    .argument('[role]', 'admin', 'admin')
    .addHelpText('after', `\nExample:\n  mumi user ${verb} ann@example.com admin`)
    .action((user: string, role: string) =>
      terminal.run(
        { name: `user.${verb}`, data: { user, role }, idle: 'open' },
        (data: Row) => `${named(data)} is ${data.role} now\n`,
      ),
    )
}

/** `mumi user export`, and `mumi export` in short. */
function exportAll(terminal: Terminal, path: string): Command {
  return new Command('export')
    .description('write everything that is stored of a person as lines of JSON, without password and secrets')
    .argument('[user]', USER)
    .argument('[file]', 'a file that is not there yet; default: stdout')
    .option('--user <user>', 'the same')
    .addHelpText('after', `\nExample:\n  mumi ${path} ann@example.com ann.jsonl`)
    .action(async (first: string | undefined, second: string | undefined, options: { user?: string }) => {
      const words = [first, second].filter(word => word !== undefined)
      const [user, [file]] = accountIn(words, options.user)
      await terminal.exportPerson({ user, file })
    })
}

function secondFactor(terminal: Terminal): Command {
  const off = new Command('off')
    .description('let an account log in by its password alone, for who has lost app and recovery codes')
    .argument('<user>', USER)
    .addHelpText('after', '\nExample:\n  mumi user second-factor off ann@example.com')
    .action((user: string) =>
      terminal.run(
        { name: 'user.second-factor-off', data: { user }, idle: 'open' },
        (data: Row) => `${named(data)} ${data.wasOn ? 'has no second factor now' : 'had none'}\n`,
      ),
    )
  return new Command('second-factor')
    .description('the second factor of an account')
    .helpCommand(false)
    .addCommand(off)
}

export function userCommands(terminal: Terminal): Command[] {
  const user = new Command('user').description('accounts: also where no gateway runs').helpCommand(false)
  const all = [
    list(terminal),
    show(terminal),
    create(terminal),
    simple(
      terminal,
      'disable',
      'refuse an account at login, and end its connections and tokens',
      data => `disabled ${named(data)}; ${data.ended} connections ended\n`,
    ),
    simple(terminal, 'enable', 'let a disabled account log in again', data => `enabled ${named(data)}\n`),
    remove(terminal, 'user delete'),
    exportAll(terminal, 'user export'),
    simple(
      terminal,
      'verify',
      'say that the email address of an account is its owner’s',
      data => `${named(data)} is verified\n`,
    ),
    resetPassword(terminal),
    secondFactor(terminal),
    rename(terminal),
    role(terminal, 'grant', 'give an account a role, from its next login on'),
    role(terminal, 'revoke-role', 'take a role from an account, and end its connections'),
  ]
  for (const command of all) user.addCommand(command)
  return [user, remove(terminal, 'delete'), exportAll(terminal, 'export')]
}
