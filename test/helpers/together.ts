/**
 * Test files that share a process. Each loads the gateway's sources and runs them cold, which costs 2 s of CPU: more than
 * most of them then do. Each still runs by itself, too. Files that package.json names for tap run alone: they plant faults
 * in what all gateways of a process share, or look at its memory.
 */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'

const TESTS = new URL('../', import.meta.url)
const { tap } = JSON.parse(readFileSync(new URL('../package.json', TESTS), 'utf8'))
const ALONE: ReadonlySet<string> = new Set(tap.include)

/** Runs the files of a folder one after the other. @param share every so-manieth of them, counted from 1 */
export function together(folder: string, share = 1, of = 1): void {
  const files = readdirSync(new URL(`${folder}/`, TESTS))
    .filter(name => name.endsWith('.test.ts') && !ALONE.has(`test/${folder}/${name}`))
    .sort()
    .filter((_, index) => index % of === share - 1)
  load(files.map(name => `${folder}/${name}`))
}

/** A file's tests wait until it is loaded, and the next file until they have run. */
function load([file, ...rest]: readonly string[]): void {
  if (file === undefined) return
  void t.test(`test/${file}`, async loaded => {
    const before = t.queue.length
    await import(new URL(file, TESTS).href)
    loaded.ok(t.queue.length > before, 'it has tests')
    load(rest)
  })
}
