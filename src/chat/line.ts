/** A typed line, as a command. */

export type Line =
  | { readonly kind: 'nothing' | 'who' | 'help' | 'quit' }
  /** `name` undefined: to whom the user talks. */
  | { readonly kind: 'say'; readonly name?: string; readonly text: string }
  | { readonly kind: 'to'; readonly name: string }
  | { readonly kind: 'all'; readonly text: string }
  | { readonly kind: 'history'; readonly count: number }
  /** No command, or one without what it needs. */
  | { readonly kind: 'unknown'; readonly command: string }

/** What the server returns at most for one request. */
const MOST_HISTORY = 500
const SOME_HISTORY = 20

export function parseLine(line: string): Line {
  if (line.trim() === '') return { kind: 'nothing' }
  if (line.startsWith('//')) return { kind: 'say', text: line.slice(1) }
  const [, name, text] = /^@(\S+)\s+(.*\S.*)$/.exec(line) ?? []
  if (name !== undefined && text !== undefined) return { kind: 'say', name, text }
  const [, command, rest = ''] = /^\/(\S*)\s*(.*)$/.exec(line) ?? []
  return command === undefined ? { kind: 'say', text: line } : parseCommand(command, rest.trim())
}

function parseCommand(command: string, rest: string): Line {
  const unknown = { kind: 'unknown', command: `/${command}` } as const
  switch (command) {
    case 'who':
    case 'help':
    case 'quit':
      return { kind: command }
    case 'to':
      return rest === '' ? unknown : { kind: 'to', name: rest }
    case 'all':
      return rest === '' ? unknown : { kind: 'all', text: rest }
    case 'history':
      return parseHistory(rest) ?? unknown
    default:
      return unknown
  }
}

function parseHistory(rest: string): Line | undefined {
  const count = rest === '' ? SOME_HISTORY : Number(rest)
  return Number.isInteger(count) && count > 0
    ? { kind: 'history', count: Math.min(count, MOST_HISTORY) }
    : undefined
}
