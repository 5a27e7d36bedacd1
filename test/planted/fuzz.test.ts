/** Checks that the fuzzer can fail: it must report a gateway with a planted fault. */
import t from 'tap'
import { runScript } from '../helpers/script.js'

t.setTimeout(900_000)

const CRASH = /^seed 3, logged as an error: process.failed\n {2}on its way: .+ [0-9a-f]+/m

for (const [fault, finding] of [
  ['crash', CRASH],
  ['pipeline', CRASH],
  ['requests', CRASH],
  ['frames', CRASH],
  ['pings', CRASH],
  ['acknowledgements', CRASH],
  ['filters', CRASH],
  [
    'readers',
    /^seed 3, (while many came and left without a byte: not ready|after .*: nobody new gets in|input \d+, .*: (not let in|no account)|logged as an error: store.failed)/m,
  ],
  ['edge', /^seed 3, input \d+, json edge: .*(silence|0 replies).*: [0-9a-f]+/m],
  ['silence', /^seed 3, input \d+, json \w+: .*(silence|0 replies).*: [0-9a-f]+/m],
  ['stall', /^seed 3, after inputs 0 to \d+: a healthy pair needs \d+ ms/m],
  ['leak', /^seed 3, memory grew from \d+ to \d+ MiB/m],
  ['threads', /^seed 3, resident memory grew from \d+ to \d+ MiB/m],
  [
    'costly',
    /^seed 3, (in a flood of HTTP requests|after HTTP requests began to flood in): (a healthy pair needs \d+ ms|.* did not come within)/m,
  ],
] as const) {
  t.test(`a gateway with the fault ${fault} is reported`, async t => {
    const { code, stdout, stderr } = await runScript(t, 'fuzz/main.ts', [
      '--inputs',
      '300',
      '--seed',
      '3',
      '--plant',
      fault,
    ])
    t.equal(code, 1, stderr)
    t.match(stdout, finding)
  })
}
