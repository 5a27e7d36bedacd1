/** The README's commands, as they are printed there, on the running program. */

import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { plain, plainNode } from '../helpers/plain-node.js'
import { type Program, startProgram } from '../helpers/program.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const BLOCKS = Array.from(README.matchAll(/^```sh\n([\s\S]*?)^```$/gm), ([, block = '']) => block)

const hasCurl = spawnSync('curl', ['--json', '', '--version']).status === 0
const hasMosquitto = spawnSync('mosquitto_pub', ['--help']).error === undefined

t.setTimeout(120_000)

/** What `npx -p node@24 npm test` sets would go for the `npx` of the README, too. */
const ENV = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')))

/** The one block of the README that has this. */
function block(part: string): string {
  const [found, ...more] = BLOCKS.filter(text => text.includes(part))
  if (found === undefined || more.length > 0) throw new Error(`${part} is not in one block of the README`)
  return found
}

/** A block in a shell, on this program instead of the one with the usual ports. */
function run(t: Test, program: Program, part: string) {
  const ports = `mosquitto_sub() { command mosquitto_sub -p ${program.mqttPort} "$@"; }
mosquitto_pub() { command mosquitto_pub -p ${program.mqttPort} "$@"; }
curl() { command curl --connect-to 127.0.0.1:8080:127.0.0.1:${program.httpPort} "$@"; }
`
  const env = { ...ENV, CHAT_URL: `ws://127.0.0.1:${program.httpPort}` }
  const child = spawn(...plain(['sh', '-c', ports + block(part)]), { cwd: ROOT, env, detached: true })
  return watched(t, child)
}

/** What a process prints; it ends with the test, and whatever it started. */
function watched(t: Test, child: ChildProcessWithoutNullStreams) {
  let printed = ''
  const ended = once(child, 'close').then(([code]) => code)
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', text => {
      printed += text
    })
  t.teardown(() => {
    if (child.exitCode === null) process.kill(-(child.pid ?? 0), 'SIGKILL')
  })
  const shows = async (text: string) => {
    while (!printed.includes(text)) {
      const gone = ended.then(code =>
        Promise.reject(new Error(`ended (${code}) without ${text}: ${printed}`)),
      )
      await Promise.race([once(child.stdout, 'data'), gone])
    }
  }
  return {
    shows,
    ended,
    printed: () => printed,
    says: (line: string) => child.stdin.write(`${line}\n`),
    leaves: () => child.stdin.end(),
  }
}

t.test('two people talk by the README’s commands, also over an outage, and read by MQTT', async t => {
  const port = 20_000 + (process.pid % 10_000)
  const program = await startProgram(t, { 'http.port': `${port}`, 'sessions.multiple': 'reject' })
  const ann = run(t, program, 'npx mumi chat ann@example.com\n')
  ann.says('secret')
  await ann.shows('nobody else is here.')
  const bob = run(t, program, 'npx mumi chat bob@')
  bob.says('secret')
  await bob.shows('here: ann@example.com')
  bob.says('hello ann')
  await ann.shows('bob@example.com: hello ann')
  ann.says('hello bob')
  await bob.shows('ann@example.com: hello bob')

  const second = run(t, program, 'npx mumi chat ann@example.com\n')
  second.says('secret')
  t.equal(await second.ended, 1)
  t.match(second.printed(), 'ann@example.com is logged in already, in another terminal')

  ann.leaves()
  t.equal(await ann.ended, 0)
  bob.says('are you there?')
  bob.says('/who')
  await bob.shows('nobody else is here.')
  await program.kill()
  await bob.shows('trying again')
  bob.says('typed while nothing answered')
  await program.start()
  await bob.shows('connected again')
  bob.says('/who')
  const back = run(t, program, 'npx mumi chat ann@example.com\n')
  back.says('secret')
  await back.shows('typed while nothing answered')
  const texts = [...back.printed().matchAll(/bob@example\.com: (.+)/g)].map(([, text]) => text)
  // Where Ann stands is written once a second, so that the kill may have cost it (docs/promise.md).
  const missed = texts[0] === 'hello ann' ? texts.slice(1) : texts
  t.same(missed, ['are you there?', 'typed while nothing answered'], 'what she missed, once and in order')

  await t.test('the phone', { skip: !hasMosquitto && 'NOT TESTED: no mosquitto-clients' }, async t => {
    const phone = run(t, program, 'mosquitto_sub')
    // A new device begins where it subscribes, and mosquitto_sub does not say when it has.
    while (!phone.printed().includes('hello from mqtt'))
      t.equal(await run(t, program, 'mosquitto_pub').ended, 0)
    await back.shows('bob@example.com: hello from mqtt')
  })
  await t.test('curl', { skip: !hasCurl && 'NOT TESTED: no curl with --json' }, async t => {
    t.equal(await run(t, program, 'curl').ended, 0)
    await back.shows('eve@example.com: hello from curl')
  })
  bob.leaves()
  t.equal(await bob.ended, 0)
})

const PTY = '/usr/bin/script'

t.test(
  'in a terminal the password is not shown, and Ctrl-D leaves',
  { skip: !existsSync(PTY) && `NOT TESTED: no ${PTY}` },
  async t => {
    const program = await startProgram(t)
    const command = `npx mumi chat --server 127.0.0.1:${program.httpPort} ann@example.com`
    const child = spawn(...plain([PTY, '-qec', command, '/dev/null']), {
      cwd: ROOT,
      env: ENV,
      detached: true,
    })
    const ann = watched(t, child)
    await ann.shows('password for ann@example.com: ')
    ann.says('a secret')
    await ann.shows('the same again: ')
    ann.says('a secret')
    await ann.shows('you are logged in')
    await ann.shows('> ')
    child.stdin.write('\u0004')
    t.equal(await ann.ended, 0)
    t.notMatch(ann.printed(), 'a secret')
  },
)

t.test('a gateway in a terminal ends its start with where it is and what to type', async t => {
  const dir = t.testdir()
  const args = ['serve', '--log.pretty=always', '--http.port=0', '--mqtt.port=0', '--ops.port=0']
  const main = join(ROOT, 'dist', 'main.js')
  const child = spawn(...plainNode([main, ...args, `--data.dir=${join(dir, 'data')}`]), {
    detached: true,
  })
  const gateway = watched(t, child)
  await gateway.shows('npx mumi chat --server ws://127.0.0.1:')
  t.match(gateway.printed(), /gateway\.ready[\s\S]*is ready[\s\S]*open {2}http:[\s\S]*MQTT {2}mqtt:/)
  t.match(gateway.printed(), `data  ${join(dir, 'data')}\n`)
  child.kill('SIGTERM')
  t.equal(await gateway.ended, 0)
})
