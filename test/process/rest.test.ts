/** The commands of docs/rest.md, as they are printed there, on the running program. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import t from 'tap'
import { startProgram } from '../helpers/program.js'

const DOCUMENT = readFileSync(new URL('../../docs/rest.md', import.meta.url), 'utf8')
const BLOCKS = Array.from(DOCUMENT.matchAll(/^```sh\n([\s\S]*?)^```$/gm), ([, block = '']) => block)

const hasCurl = spawnSync('curl', ['--json', '', '--version']).status === 0

t.test('docs/rest.md', { skip: !hasCurl && 'NOT TESTED: no curl with --json' }, async t => {
  const program = await startProgram(t, { locale: 'en' })
  // Each command on a line of its own, so that what each prints is told apart.
  const lines = BLOCKS.join('').replaceAll(/^curl .*$/gm, line => `${line}; echo`)
  const cwd = t.testdir({})
  const blue = { width: 300, height: 200, channels: 3, background: 'blue' } as const
  await sharp({ create: blue }).jpeg().toFile(join(cwd, 'ann.jpg'))
  const { status, stdout, stderr } = spawnSync('sh', ['-euc', lines], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, API: `http://127.0.0.1:${program.httpPort}/api/v1` },
  })
  t.equal(status, 0, stderr)
  const answers = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const [ann, bob, me, sent, messages, inbox, confirmed, named, picture, changed, device, sessions] = answers
  t.match([ann.id, bob.id], [/^\d{9}$/, /^\d{9}$/])
  t.match(me, { id: ann.id, email: 'ann@chat.example' })
  t.match(messages, {
    messages: [{ id: sent.id, sender: ann.id, recipient: bob.id, content: 'hello' }],
    more: false,
  })
  t.match(inbox, { messages: [{ id: sent.id, seq: 1, content: 'hello' }], upTo: 1, confirmed: 0 })
  t.same(confirmed, { confirmed: 1 })
  t.match(named, { id: ann.id, username: 'ann.lee' })
  t.match(picture, { profileImage: /^http:\/\/127\.0\.0\.1:\d+\/images\/[\w-]{32}$/ })
  t.match(changed, { id: ann.id, language: 'en' })
  t.match(device, { device: 'lamp-kitchen' })
  // In the order of their ids, which are random.
  const kinds = sessions.sessions
    .map(({ kind, device }: Record<string, string>) => `${kind} ${device}`)
    .sort()
  t.same(kinds, ['device lamp-kitchen', 'token script'])
  t.equal(answers.length, 12)
})
