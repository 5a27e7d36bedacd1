import t, { type Test } from 'tap'
import { runScript } from '../helpers/script.js'

t.setTimeout(300_000)

const fuzz = (t: Test, args: readonly string[]) => runScript(t, 'fuzz/main.ts', args)

t.test('the server withstands hostile input of every kind', async t => {
  const { code, stdout, stderr } = await fuzz(t, ['--inputs', '600', '--seed', '1'])
  t.equal(code, 0, stdout + stderr)
  t.match(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? ''), { seed: '1', inputs: 600, faults: 0 })
  for (const kind of [
    'json text',
    'json values',
    'json edge',
    'requests pipelined',
    'frames flood',
    'mqtt packet flood',
    'mqtt edge',
    'handshake wrong',
    'frames wrong',
    'mqtt packets',
    'mqtt 5 packets',
    'mqtt 5 session',
    'mqtt websocket session',
  ])
    t.match(stdout, new RegExp(`^${kind}`, 'm'), `${kind} was tried`)
})

t.test('with limits for this machine, hostile clients are refused and others are served', async t => {
  const { code, stdout, stderr } = await fuzz(t, [
    ...['--inputs', '200', '--seed', '1', '--counted'],
    // So few that a slow machine reaches them, too.
    ...['--set', 'limits.handshakesPerAddress=1', '--set', 'limits.httpRequests=1'],
  ])
  t.equal(code, 0, stdout + stderr)
  t.match(stdout, /turned away/)
})
