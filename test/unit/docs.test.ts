import { readFileSync } from 'node:fs'
import t from 'tap'
import { withCodeTable } from '../../scripts/docs.js'
import { CODES } from '../../src/errors.js'

t.test('the code table in docs/protocol.md is the one in src/errors.ts', async t => {
  const document = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')
  t.equal(withCodeTable(document), document)
  t.ok(document.includes('| 10010 | ERROR_FIND_USER |'), 'and it is there at all')
})

t.test('numbers are unique, and those of ours start at 10100', async t => {
  const numbers = Object.values(CODES).map(row => row.code)
  t.equal(new Set(numbers).size, numbers.length)
  for (const code of numbers) t.ok(code < 10012 || code >= 10100)
})
