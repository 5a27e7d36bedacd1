/** Scripts that complete commands and options in a shell, made from the commands themselves. */
import type { Command } from 'commander'
import { EXIT_USAGE } from '../exit-codes.js'
import { CommandError } from './ask.js'

/** Of `mumi` itself, which are not commands for operators. */
const OTHERS = ['serve', 'config', 'check', 'copy', 'keys']

/** Options of all commands, which the program does not have: they are taken out of the words before it. */
const OF_ALL = ['--config', '--server', '--token-file']

/** What may follow a command: its own commands, or its options. */
function wordsOf(command: Command): string[] {
  if (command.commands.length > 0) return command.commands.map(one => one.name())
  return [...command.options.flatMap(({ long }) => long ?? []), ...OF_ALL]
}

/** [`user list`, its words], of all commands. */
function pathsOf(command: Command, path: string): [string, string[]][] {
  const within = command.commands.flatMap(one => pathsOf(one, `${path} ${one.name()}`.trim()))
  return [[path, wordsOf(command)], ...within]
}

/** @throws CommandError for a shell that is not known */
export function completion(program: Command, shell: string): string {
  const paths = pathsOf(program, '').map(([path, words]): [string, string[]] =>
    path === '' ? [path, [...OTHERS, ...words].sort()] : [path, words],
  )
  const make = new Map([
    ['bash', bash],
    ['zsh', zsh],
    ['fish', fish],
  ]).get(shell)
  if (make === undefined) throw new CommandError('completion: must be bash, zsh or fish', EXIT_USAGE)
  return make(paths)
}

type Paths = readonly [string, readonly string[]][]

const bash = (paths: Paths): string => `_mumi() {
  local current=\${COMP_WORDS[COMP_CWORD]} path="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  case $path in
${paths.map(([path, words]) => `    "${path}"${path.includes(' ') ? `|"${path} "*` : ''}) COMPREPLY=($(compgen -W "${words.join(' ')}" -- "$current")) ;;`).join('\n')}
  esac
}
complete -F _mumi -o default mumi
`

const zsh = (paths: Paths): string => `#compdef mumi
autoload -U +X bashcompinit && bashcompinit
${bash(paths)}`

const fish = (paths: Paths): string =>
  `complete -c mumi -f
${paths.flatMap(([path, words]) => words.map(word => fishLine(path, word))).join('\n')}
`

function fishLine(path: string, word: string): string {
  const parts = path === '' ? [] : path.split(' ')
  const seen = parts.map(part => `__fish_seen_subcommand_from ${part}`).join('; and ')
  const when = parts.length === 0 ? '__fish_use_subcommand' : seen
  const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-a ${word}`
  return `complete -c mumi -n '${when}' ${what}`
}
