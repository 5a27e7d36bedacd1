import { readFileSync } from 'node:fs'

let read: string | undefined

/** The version in package.json. */
export function version(): string {
  read ??= JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version as string
  return read
}
