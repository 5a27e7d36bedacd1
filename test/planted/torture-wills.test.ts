/** Checks that the torture reports planted faults of wills. */
import t from 'tap'
import { torture } from '../helpers/script.js'

t.setTimeout(300_000)

for (const [fault, finding] of [
  ['keep-wills-at-stop', 'repeated'],
  ['forget-wills', 'missing'],
  ['keep-wills', 'unwanted'],
] as const) {
  t.test(`a gateway with the fault ${fault} is reported, by a will that is ${finding}`, async t => {
    const args = ['--seed', '2', '--minutes', '0.3', '--kills-per-minute', '5', '--plant', fault]
    const { code, stdout, last } = await torture(t, args)
    t.equal(code, 1)
    t.ok(JSON.parse(last).wills[finding] > 0, stdout)
    t.match(stdout, new RegExp(`^will ${finding}: will-\\d`, 'm'), 'it is named')
  })
}
