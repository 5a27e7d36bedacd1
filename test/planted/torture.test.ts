/** Checks that the torture can fail: it must report a gateway with a planted fault. */
import t from 'tap'
import { torture } from '../helpers/script.js'

t.setTimeout(300_000)

for (const [fault, finding] of [
  ['ack-before-store', 'lost'],
  ['overtake', 'reordered'],
  ['skip-one', 'gaps'],
] as const) {
  t.test(`a gateway with the fault ${fault} is reported, by a message that is ${finding}`, async t => {
    const { code, stdout, last } = await torture(t, ['--seed', '2', '--plant', fault])
    t.equal(code, 1)
    t.ok(JSON.parse(last)[finding] > 0, stdout)
    t.match(stdout, new RegExp(`^${finding} .*u\\d`, 'm'), 'it is named')
  })
}
