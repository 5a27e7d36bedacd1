/**
 * Runs several test files in one process, because loading the gateway's sources costs 2 s of CPU, more than most test
 * files need. Each file also runs alone. The files that package.json names for tap always run alone: they plant faults in
 * what all gateways of a process share, or measure its memory.
 */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'

const TESTS = new URL('../', import.meta.url)
const { tap } = JSON.parse(readFileSync(new URL('../package.json', TESTS), 'utf8'))
const ALONE: ReadonlySet<string> = new Set(tap.include)

/** Runs a share of the files of a folder, one after another. @param share which share, counted from 1 */
export function together(folder: string, share = 1, of = 1): void {
  const files = readdirSync(new URL(`${folder}/`, TESTS))
    .filter(name => name.endsWith('.test.ts') && !ALONE.has(`test/${folder}/${name}`))
    .sort()
    .filter((_, index) => index % of === share - 1)
  load(files.map(name => `${folder}/${name}`))
}

/** A file's tests start when it is loaded; the next file is loaded when they have ended. */
function load([file, ...rest]: readonly string[]): void {
  if (file === undefined) return
  void t.test(`test/${file}`, async loaded => {
    const before = t.queue.length
    await import(new URL(file, TESTS).href)
    loaded.ok(t.queue.length > before, 'it has tests')
    load(rest)
  })
}
