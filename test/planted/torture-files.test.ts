/** Checks that the torture reports planted faults when a crowd uses up the file descriptors. */
import t from 'tap'
import { torture } from '../helpers/script.js'

t.setTimeout(300_000)

for (const [fault, finding] of [
  ['end-without-files', 'died'],
  ['deaf-without-files', 'crowdsRefused'],
] as const) {
  t.test(`a gateway with the fault ${fault} is reported: ${finding}`, async t => {
    const args = ['--seed', '1', '--kills-per-minute', '0', '--plant', fault]
    const { code, stdout, last } = await torture(t, args)
    t.equal(code, 1)
    t.ok(JSON.parse(last)[finding] > 0, stdout)
  })
}
