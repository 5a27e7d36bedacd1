/**
 * Writes the code table of docs/protocol.md from src/core/codes.ts, the count of packages in docs/security.md, and the man page
 * docs/mumi.1: `npm run docs`. With --check it writes nothing and fails if they differ,
 * as a test does.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { CODES } from '../src/core/errors.js'
import { counted } from './dependencies.js'
import { manPage } from './man.js'

const PATH = new URL('../docs/protocol.md', import.meta.url)
const SECURITY = new URL('../docs/security.md', import.meta.url)
const MAN = new URL('../docs/mumi.1', import.meta.url)
const REGION = /<!-- codes -->\n[\s\S]*<!-- \/codes -->/

export function codeTable(): string {
  const rows = Object.entries(CODES).map(
    ([name, row]) =>
      `| ${row.code} | ${name} | ${row['zh-TW']} | ${row.en} | ${row.retry ? 'yes' : 'no'} | ${row.close ?? ''} | ${row.retired ? '*Retired.* ' : ''}${row.when} |`,
  )
  return [
    '| code | name | zh-TW | en | retry | close | when |',
    '|---|---|---|---|---|---|---|',
    ...rows,
  ].join('\n')
}

/** @param document text of docs/protocol.md @returns the same with the current table */
export const withCodeTable = (document: string): string =>
  document.replace(REGION, `<!-- codes -->\n${codeTable()}\n<!-- /codes -->`)

/** @param document text of docs/security.md @returns the same with the current count */
export const withCount = (document: string): string =>
  document.replace(/(<!-- dependencies -->\n).*/, (_, mark: string) => `${mark}${counted()}`)

if (process.argv[1] === import.meta.filename) {
  const written = [
    [PATH, withCodeTable(readFileSync(PATH, 'utf8'))],
    [SECURITY, withCount(readFileSync(SECURITY, 'utf8'))],
    [MAN, manPage()],
  ] as const
  for (const [path, text] of written) {
    if (readFileSync(path, 'utf8') === text) continue
    if (process.argv.includes('--check')) {
      console.error(`${path.pathname} is not what npm run docs writes`)
      process.exitCode = 1
    } else writeFileSync(path, text)
  }
}
