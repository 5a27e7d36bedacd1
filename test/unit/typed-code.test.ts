/** Codes that people type, and records as JSON. */
import t from 'tap'
import { decodeRecord, encodeRecord } from '../../src/core/record.js'
import { asMeant, randomCode } from '../../src/core/typed-code.js'

t.test('a code has no character that is taken for another, and is read as it was meant', async t => {
  const code = randomCode(1000)
  t.match(code, /^[0-9A-HJKMNP-TV-Z]{1000}$/)
  t.equal(new Set(code).size, 32)
  t.not(randomCode(16), randomCode(16))
  t.equal(asMeant('oO-iIlL a'), '00-1111 A')
})

t.test('a record is read as it was written, also in the middle of a buffer', async t => {
  const record = { text: '漢 🦊', list: [1, null] }
  const value = encodeRecord(record)
  t.same(decodeRecord(value), record)
  const within = new Uint8Array(value.length + 2)
  within.set(value, 1)
  t.same(decodeRecord(within.subarray(1, -1)), record)
})
