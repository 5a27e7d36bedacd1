/** What commands print: tables and lines for people, JSON for machines. */

/** Characters that move a terminal's cursor or hide text: names and ids come from clients. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** A text as it may be printed to a terminal. */
export const safe = (value: unknown): string =>
  String(value ?? '').replace(UNSAFE, char => `\\u{${char.codePointAt(0)?.toString(16)}}`)

/** The same of several lines. */
export const safeLines = (text: string): string => text.replace(/[^\n]+/g, safe)

/** A line of JSON that a terminal may show: what JSON lets stand raw is escaped, too, and reads the same. */
export const jsonLine = (data: unknown): string => `${JSON.stringify(data ?? null).replace(UNSAFE, units)}\n`

/** Characters beyond U+FFFF are two units in JSON. */
const units = (char: string): string =>
  char
    .split('')
    .map(unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('')

export type Row = Readonly<Record<string, unknown>>

/** Columns of equal width, with a line of titles; `yes` and empty for booleans. @param columns members, in order */
export function table(rows: readonly Row[], columns: readonly string[]): string {
  const titles = columns.map(column => column.replaceAll('_', ' ').toUpperCase())
  const cells = [titles, ...rows.map(row => columns.map(column => cell(row[column])))]
  const widths = columns.map((_, i) => widest(cells.map(line => line[i] ?? '')))
  return cells
    .map(
      line =>
        `${line
          .map((text, i) => text.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

/** A table; words where it would have none but titles. */
export const listing = (rows: readonly Row[], columns: readonly string[], none: string): string =>
  rows.length === 0 ? `${none}\n` : table(rows, columns)

/** Of however many: as arguments of Math.max, some 120,000 have no room on the stack. */
const widest = (texts: readonly string[]): number =>
  texts.reduce((width, { length }) => Math.max(width, length), 0)

const cell = (value: unknown): string => (typeof value === 'boolean' ? (value ? 'yes' : '') : safe(value))

/** One line a member; members of an object within are named with a dot. */
export function lines(row: Row): string {
  const all = members(row, '')
  const width = widest(all.map(([name]) => name))
  return all.map(([name, value]) => `${name.padEnd(width)}  ${safe(value)}\n`).join('')
}

function members(row: Row, prefix: string): [string, unknown][] {
  return Object.entries(row).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null
      ? members(value as Row, `${prefix}${name}.`)
      : [[`${prefix}${name}`, value] as [string, unknown]],
  )
}
