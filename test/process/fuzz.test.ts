import t, { type Test } from 'tap'
import { runScript } from '../helpers/script.js'

t.setTimeout(300_000)

const fuzz = (t: Test, args: readonly string[]) => runScript(t, 'fuzz/main.ts', args)

t.test('hostile input of every kind does the server no harm', async t => {
  const { code, stdout, stderr } = await fuzz(t, ['--inputs', '600', '--seed', '1'])
  t.equal(code, 0, stdout + stderr)
  t.match(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? ''), { seed: '1', inputs: 600, faults: 0 })
  for (const kind of [
    'json text',
    'json values',
    'handshake wrong',
    'frames wrong',
    'mqtt packets',
    'mqtt websocket session',
  ])
    t.match(stdout, new RegExp(`^${kind}`, 'm'), `${kind} was tried`)
})

t.test('where this machine has limits, too, hostile clients are turned away and the others stay', async t => {
  const { code, stdout, stderr } = await fuzz(t, ['--inputs', '400', '--seed', '1', '--counted'])
  t.equal(code, 0, stdout + stderr)
  t.match(stdout, /turned away/)
})

for (const [fault, finding] of [
  ['crash', /^seed 3, logged as an error: process.failed\n {2}on its way: .+ [0-9a-f]+/m],
  ['silence', /^seed 3, input \d+, json \w+: .*(silence|0 replies).*: [0-9a-f]+/m],
  ['stall', /^seed 3, after inputs 0 to \d+: a healthy pair needs \d+ ms/m],
  ['leak', /^seed 3, memory grew from \d+ to \d+ MiB/m],
] as const) {
  t.test(`a gateway with the fault ${fault} is found out`, async t => {
    const { code, stdout, stderr } = await fuzz(t, ['--inputs', '300', '--seed', '3', '--plant', fault])
    t.equal(code, 1, stderr)
    t.match(stdout, finding)
  })
}
