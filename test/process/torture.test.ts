import t, { type Test } from 'tap'
import { runScript } from '../helpers/script.js'

/** Nine seconds with a few kills, and the time that everyone needs to come back. */
const SHORT = ['--minutes', '0.15', '--users', '4', '--rate', '1000', '--kills-per-minute', '20']

t.setTimeout(300_000)

async function torture(t: Test, args: readonly string[]) {
  const { code, stdout, stderr } = await runScript(t, 'torture/main.ts', args)
  if (code !== 0) t.comment(stderr)
  return { code, stdout, last: stdout.trimEnd().split('\n').at(-1) ?? '' }
}

t.test('whatever is killed meanwhile, every acknowledged message reaches every device, in order', async t => {
  const { code, stdout, last } = await torture(t, [...SHORT, '--seed', '1'])
  t.equal(code, 0, stdout)
  const result = JSON.parse(last)
  t.match(result, {
    seed: '1',
    lost: 0,
    reordered: 0,
    gaps: 0,
    doubled: { json: 0, mqttSession: 0 },
    broken: false,
  })
  t.ok(result.acknowledged > 100 && result.delivered > result.acknowledged, 'there was traffic')
  t.ok(result.killed >= 3 && result.graceful >= 1, 'there were kills and restarts')
})

for (const [fault, finding] of [
  ['ack-before-store', 'lost'],
  ['overtake', 'reordered'],
  ['skip-one', 'gaps'],
] as const) {
  t.test(`a gateway with the fault ${fault} is found out, by a message that is ${finding}`, async t => {
    const { code, stdout, last } = await torture(t, [...SHORT, '--seed', '2', '--plant', fault])
    t.equal(code, 1)
    t.ok(JSON.parse(last)[finding] > 0, stdout)
    t.match(stdout, new RegExp(`^${finding} .*u\\d`, 'm'), 'it is named')
  })
}

t.test('a server that does not start is no verdict', async t => {
  const { code, stdout } = await torture(t, [...SHORT, '--set', 'http.port=none'])
  t.equal(code, 2)
  t.equal(stdout, '')
})
