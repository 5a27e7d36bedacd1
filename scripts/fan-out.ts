/**
 * Refuses files of src/ that import more than MAX other files of src/: such a file has more than one job. Only src/app/,
 * the composition root, may. `npm run check:layers` runs it.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'

const MAX = 12

/** How many files a source imports: types, dynamic imports and re-exports count, packages and Node.js do not. */
function fanOut(source: string): number {
  const { importedFiles } = ts.preProcessFile(source)
  return new Set(importedFiles.map(({ fileName }) => fileName).filter(name => name.startsWith('.'))).size
}

const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter(file => file.endsWith('.ts') && !file.startsWith('app/'))
  .map(file => join('src', file))
const wide = files.flatMap(file => {
  const count = fanOut(readFileSync(file, 'utf8'))
  return count > MAX ? [`fan-out: ${file} imports ${count} files, more than ${MAX}`] : []
})
for (const line of wide) console.error(line)
process.exitCode = wide.length > 0 ? 1 : 0
