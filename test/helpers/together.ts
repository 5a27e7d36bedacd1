/**
 * Test files that share a process. Each loads the gateway's sources and runs them cold, which costs 2 s of CPU: more than
 * most of them then do. Each still runs by itself, too. Files that package.json names for tap run alone: they plant faults
 * in what all gateways of a process share, or look at its memory.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import t from 'tap'

const TESTS = new URL('../', import.meta.url)
const { tap } = JSON.parse(readFileSync(new URL('../package.json', TESTS), 'utf8'))
const ALONE: ReadonlySet<string> = new Set(tap.include)

/** Runs the files of a folder one after the other. @param share every so-manieth of them, counted from 1 */
export async function together(folder: string, share = 1, of = 1): Promise<void> {
  const files = readdirSync(new URL(`${folder}/`, TESTS))
    .filter(name => name.endsWith('.test.ts') && !ALONE.has(`test/${folder}/${name}`))
    .sort()
    .filter((_, index) => index % of === share - 1)
  for (const file of files) {
    const before = t.counts.total
    await import(new URL(`${folder}/${file}`, TESTS).href)
    // In the queue behind its tests.
    await t.test(`test/${folder}/${basename(file)} is done`, async end =>
      end.ok(t.counts.total > before, 'it has tests'),
    )
  }
}
