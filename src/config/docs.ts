/** Writes docs/config.md and config/default.json5 from the schema. A test checks that they are up to date. */
import type { Key } from './formats.js'
import { envName, KEYS } from './schema.js'

/** docs/config.md: all keys as one table. */
export function configTable(): string {
  const rows = Array.from(KEYS, ([name, key]) =>
    [`\`${name}\``, typeOf(key), `\`${key.default}\``, `\`${envName(name)}\``, key.doc].map(cell =>
      cell.replaceAll('|', '\\|'),
    ),
  )
  const table = [
    ['Key', 'Type', 'Default', 'Environment', 'What it does'],
    ['---', '---', '---', '---', '---'],
    ...rows,
  ]
  return `${HEAD}\n${table.map(cells => `| ${cells.join(' | ')} |`).join('\n')}\n`
}

/** config/default.json5: all keys with their defaults, each under its description. */
export function defaultFile(): string {
  const lines = [
    '// Every key with its default. Copy what you change into a file of your own and name it with --config.',
    '{',
  ]
  let open: readonly string[] = []
  const indent = (depth: number) => '  '.repeat(depth + 1)
  const closeTo = (depth: number) => {
    for (let i = open.length; i > depth; i--) lines.push(`${indent(i - 1)}},`)
    open = open.slice(0, depth)
  }
  for (const [name, key] of KEYS) {
    const sections = name.split('.')
    const leaf = sections.pop()
    const shared = sections.findIndex((section, i) => section !== open[i])
    closeTo(shared === -1 ? sections.length : shared)
    for (const section of sections.slice(open.length)) {
      lines.push(`${indent(open.length)}${section}: {`)
      open = [...open, section]
    }
    const margin = indent(open.length)
    lines.push(`${margin}// ${key.doc} (${typeOf(key)})`, `${margin}${leaf}: ${literal(key.default)},`)
  }
  closeTo(0)
  return `${[...lines, '}'].join('\n')}\n`
}

const literal = (value: unknown) => (typeof value === 'string' ? `'${value}'` : String(value))

function typeOf({ format, min, max }: Key<unknown>): string {
  if (Array.isArray(format)) return format.map(choice => `\`${choice}\``).join(' | ')
  if (min === undefined && max === undefined) return String(format)
  return `${format}, ${max === undefined ? `at least ${min}` : `${min ?? 0} to ${max}`}`
}

const HEAD = `# Configuration

Later wins: the defaults below; files named with \`--config FILE\` (JSON, JSON5, YAML, TOML or the old server's app.ini, by the ending of the name; may be repeated); the environment;
the command line (\`--http.port 9000\`). An unknown key, an unknown \`MUMI_*\` variable or a bad value stops the start,
and all of them are reported at once. \`mumi config\` prints what is in effect, \`mumi check\` tries it and the store.

A flag is \`true\` or \`false\`. A duration is a number of milliseconds or a text with a unit: \`250ms\`, \`30s\`, \`5m\`, \`12h\`,
\`7d\`. Bytes are a number or a text with a unit: \`512B\`, \`64KiB\`, \`1MiB\`, \`1GiB\`.

Written by \`npm run docs:config\` from src/config/schema.ts, as is config/default.json5: do not edit either.
`
