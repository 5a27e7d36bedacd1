import t from 'tap'
import { torture } from '../helpers/script.js'

t.setTimeout(300_000)

t.test('every acknowledged message reaches every device in order, whatever is killed', async t => {
  const { code, stdout, last } = await torture(t, ['--seed', '1'])
  t.equal(code, 0, stdout)
  const result = JSON.parse(last)
  t.match(result, {
    seed: '1',
    lost: 0,
    reordered: 0,
    gaps: 0,
    idsBack: 0,
    wills: { missing: 0, repeated: 0, unwanted: 0 },
    crowdsRefused: 0,
    doubled: { json: 0, mqttSession: 0 },
    broken: false,
  })
  t.ok(result.acknowledged > 100 && result.delivered > result.acknowledged, 'there was traffic')
  t.ok(result.wills.published > 0, 'there were wills')
  t.ok(result.killed >= 3 && result.graceful >= 1, 'there were kills and restarts')
})

t.test(
  'clean restarts and reloads under load: nothing is lost, nothing comes twice on a connection',
  async t => {
    const { code, stdout, last } = await torture(t, ['--seed', '2', '--restarts', 'graceful'])
    t.equal(code, 0, stdout)
    const result = JSON.parse(last)
    t.match(result, {
      lost: 0,
      reordered: 0,
      gaps: 0,
      repeatedOnConnection: 0,
      killed: 0,
      died: 0,
      unclean: 0,
      sessionsLost: 0,
      doubled: { json: 0, mqttSession: 0 },
      broken: false,
    })
    t.ok(result.acknowledged > 100 && result.delivered > result.acknowledged, 'there was traffic')
    t.ok(result.graceful >= 3 && result.reloads >= 1, 'there were restarts and reloads')
  },
)

t.test('a server that does not start is reported as an error of the torture, not as a loss', async t => {
  const { code, stdout } = await torture(t, ['--set', 'http.port=none'])
  t.equal(code, 2)
  t.equal(stdout, '')
})
