/** Bytes of the files of all accounts: counted once, kept up, counted anew, and counted again after a failure. */
import t from 'tap'
import { Totals } from '../../src/files/totals.js'

t.test('they are counted once and kept up', async t => {
  let counts = 0
  let fault: Error | undefined = new Error('the store is gone')
  const files = [
    { size: 5, state: 'stored' },
    { size: 7, state: 'open' },
  ] as const
  const totals = new Totals(async function* () {
    counts++
    if (fault !== undefined) throw fault
    yield* files
  })
  totals.change(100, 100)
  await t.rejects(totals.now(), fault)
  fault = undefined
  t.same(await totals.now(), { bytes: 12, open: 7 })
  totals.change(3, 3)
  totals.change(0, -7)
  t.same(await totals.now(), { bytes: 15, open: 3 })
  t.equal(counts, 2)
  totals.forget()
  t.same(await totals.now(), { bytes: 12, open: 7 })
})
