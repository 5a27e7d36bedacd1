/** Checks that the torture reports a planted fault of ids when the clock is set over a restart. */
import t from 'tap'
import { torture } from '../helpers/script.js'

t.setTimeout(300_000)

t.test('a gateway whose ids follow the clock back over a restart is reported', async t => {
  // Each second start has its clock 18 hours behind the start before, whatever the machine has time for.
  const args = ['--seed', '30', '--minutes', '0.3', '--kills-per-minute', '10', '--clock', '9,-9']
  const { code, stdout, last } = await torture(t, [...args, '--plant', 'forget-id-time'])
  t.equal(code, 1)
  t.ok(JSON.parse(last).idsBack > 0, stdout)
  t.match(stdout, /^idsBack .*u\d/m, 'it is named')
})
