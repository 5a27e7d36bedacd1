/** The man page mumi(1), made of the help of the command: `npm run docs` writes docs/mumi.1. A test fails if it differs. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { EXIT_FAILURE, EXIT_NOT_RUNNING, EXIT_USAGE } from '../src/cli/exit-codes.js'
import { HELP } from '../src/cli/help.js'
import { leaves, makeProgram } from '../src/cli/operator/program.js'
import type { Terminal } from '../src/cli/operator/terminal.js'

/** A command or an option, and what it does. */
type Entry = readonly [name: string, text: string]

const section = (title: string): string => {
  const [, body = ''] = new RegExp(`^${title}.*:\n((?: .*\n)+)`, 'm').exec(HELP) ?? []
  return body
}

/** Two columns of the help. Where a name is too long for the first, its text begins on the next line. */
function entries(title: string): Entry[] {
  const found: [string, string[]][] = []
  for (const line of section(title).split('\n').filter(Boolean)) {
    const [, name, first] = /^ {2}(\S.*?)(?: {2,}(.+))?$/.exec(line) ?? []
    if (name !== undefined) found.push([name, first === undefined ? [] : [first]])
    else found.at(-1)?.[1].push(line.trim())
  }
  for (const [name, words] of found)
    if (words.length === 0) throw new Error(`no text for ${name} in the help`)
  return found.map(([name, words]) => [name, words.join(' ')])
}

/** Text that roff takes as it is (groff_char(7)): hyphens stay hyphens where they are copied from the page. */
const escaped = (text: string): string =>
  text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/^([.'])/gm, '\\&$1')

const entry = ([name, text]: Entry): string => `.TP\n.B ${escaped(name)}\n${escaped(text)}\n`

const pathOf = (command: Command): string =>
  command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`

/** What stands behind `Example:` in the help of a command. */
function examples(command: Command): string {
  let help = ''
  command.configureOutput({ writeOut: text => (help += text) }).outputHelp()
  const [, lines = ''] = /\nExamples?:\n((?: .*\n)+)/.exec(help) ?? []
  return lines && `.PP\n.nf\n${escaped(lines.trimEnd())}\n.fi\n`
}

function operatorCommand(command: Command): string {
  const taken = command.registeredArguments.map(one => (one.required ? `<${one.name()}>` : `[${one.name()}]`))
  const args = command.registeredArguments.map((one): Entry => [one.name(), one.description])
  const options = command.options
    .filter(({ long }) => long !== '--json')
    .map(
      ({ flags, description, defaultValue }): Entry => [
        flags,
        defaultValue === undefined ? description : `${description}; default: ${defaultValue}`,
      ],
    )
  const described = [...args, ...options].filter(([, text]) => text !== '').map(entry)
  const title = [pathOf(command), ...taken].join(' ')
  const text = `.SS ${escaped(title)}\n${escaped(command.description())}.\n`
  return [text, ...described, examples(command)].join('')
}

const GENERAL: readonly Entry[] = [
  ['--json', 'print the reply as JSON'],
  ['--config FILE, --section.key VALUE', 'the config of the gateway, as for serve; data.dir says which one'],
]

const EXITS: readonly Entry[] = [
  ['0', 'done'],
  [`${EXIT_FAILURE}`, 'refused or failed'],
  [`${EXIT_USAGE}`, 'wrong usage'],
  [`${EXIT_NOT_RUNNING}`, 'the command needs a gateway that runs, and there is none'],
]

const SIGNALS: readonly Entry[] = [
  ['SIGTERM, SIGINT', 'serve closes cleanly; a second one ends it at once'],
  ['SIGHUP', 'serve reads the config and the certificate again'],
]

/** The page in roff, macros man(7). */
export function manPage(): string {
  const { version, description } = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  )
  // Only the help is asked for, which uses no terminal.
  const program = makeProgram({} as Terminal)
  const [usage = '', environment = '', order = ''] = ['Usage', 'Environment', 'Order'].map(
    name => new RegExp(`^${name}: (.*)$`, 'm').exec(HELP)?.[1],
  )
  return `.\\" Written by npm run docs: do not edit.
.TH MUMI 1 "" "mumi\\-gateway ${version}" "MumiChat Gateway"
.SH NAME
mumi \\- the MumiChat gateway and the commands of its operator
.SH SYNOPSIS
.B ${escaped(usage)}
.SH DESCRIPTION
${escaped(description)}
.SH COMMANDS
${entries('Commands').map(entry).join('')}.SH COMMANDS FOR OPERATORS
They ask the gateway that runs on
.IR data.dir ,
those on accounts also an idle store. All of them take
${GENERAL.map(entry).join('')}${leaves(program).map(operatorCommand).join('')}.SH OPTIONS
${entries('Options').map(entry).join('')}.SH ENVIRONMENT
${escaped(environment)}
${escaped(order)}
.SH EXIT STATUS
${EXITS.map(entry).join('')}.SH SIGNALS
${SIGNALS.map(entry).join('')}.SH SEE ALSO
${escaped('mumi config --docs')} prints every config key.
The documents are in the folder docs of the package: operations.md, config.md, protocol.md.
`
}
