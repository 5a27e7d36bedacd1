/** The commands of operators: words, requests, and what is printed. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import t from 'tap'
import { age, timeBefore } from '../../src/cli/operator/age.js'
import { splitConfig, splitRemote } from '../../src/cli/operator/arguments.js'
import { ask, CommandError } from '../../src/cli/operator/ask.js'
import { askRemote } from '../../src/cli/operator/ask-remote.js'
import { operatorCommands } from '../../src/cli/operator/commands.js'
import { completion } from '../../src/cli/operator/completion.js'
import { confirm, readPassword } from '../../src/cli/operator/input.js'
import { shown } from '../../src/cli/operator/make-terminal.js'
import { isOperatorCommand } from '../../src/cli/operator/names.js'
import { jsonLine, lines, safe, table } from '../../src/cli/operator/print.js'
import { leaves, makeProgram } from '../../src/cli/operator/program.js'
import type { Terminal } from '../../src/cli/operator/terminal.js'
import { loadConfig } from '../../src/config/config.js'
import { ADMIN_REQUESTS, parseAdminRequest } from '../../src/protocol/admin.js'
import { RANGES } from '../../src/protocol/admin-ranges.js'
import { dataDir } from '../helpers/gateway.js'

t.test('config keys are told from options, wherever they stand', async t => {
  const words = ['user', '--data.dir', 'x', 'list', '--json', '--config=f', '--limit', '3', '--locale', 'en']
  t.same(splitConfig(words), {
    config: ['--data.dir', 'x', '--config=f', '--locale', 'en'],
    rest: ['user', 'list', '--json', '--limit', '3'],
  })
  t.same(splitConfig(['--http.tls', '--json']), { config: ['--http.tls'], rest: ['--json'] })
  t.same(splitConfig(['a', '--', '--data.dir', 'x']), { config: [], rest: ['a', '--', '--data.dir', 'x'] })
})

/** Runs words without a gateway. @returns what was asked, and printed */
async function run(words: string[], input = '') {
  const asked: { name: string; data: object; idle: string }[] = []
  const stdout = new PassThrough({ encoding: 'utf8' })
  const terminal: Terminal = {
    run: async request => void asked.push(request),
    verify: async () => undefined,
    compact: async () => undefined,
    exportPerson: async ({ user }) => void asked.push({ name: 'user.export', data: { user }, idle: 'open' }),
    restore: async file => void asked.push({ name: 'restore', data: { file }, idle: 'never' }),
    takeOver: async from => void asked.push({ name: 'import', data: from, idle: 'make' }),
    stdin: Readable.from([input]),
    stdout,
  }
  await makeProgram(terminal).parseAsync(words, { from: 'user' })
  return { asked, printed: String(stdout.read() ?? '') }
}

const MESSAGE = '0198c3f1-9a2b-7c3d-8e4f-5a6b7c8d9e0f'

const REQUESTS: readonly [words: string, name: string, data: object, input?: string][] = [
  ['user list', 'user.list', { limit: 100 }],
  [
    'user list --role admin --limit 5 --after 271693512',
    'user.list',
    { role: 'admin', limit: 5, after: '271693512' },
  ],
  ['user list --disabled --json', 'user.list', { disabled: true, limit: 100 }],
  ['user show ann', 'user.show', { user: 'ann' }],
  ['user create a@b.c --admin --username a', 'user.create', { email: 'a@b.c', role: 'admin', username: 'a' }],
  [
    'user create a@b.c --password-stdin',
    'user.create',
    { email: 'a@b.c', password: 'se cret' },
    'se cret\nrest\n',
  ],
  ['user disable ann', 'user.disable', { user: 'ann' }],
  ['user enable ann', 'user.enable', { user: 'ann' }],
  ['delete --user ann --yes', 'user.delete', { user: 'ann' }],
  ['export ann /a.jsonl', 'user.export', { user: 'ann' }],
  ['user export --user ann', 'user.export', { user: 'ann' }],
  ['user delete ann --yes', 'user.delete', { user: 'ann' }],
  ['user verify ann', 'user.verify', { user: 'ann' }],
  ['user second-factor off ann', 'user.second-factor-off', { user: 'ann' }],
  ['user rename ann anna', 'user.rename', { user: 'ann', username: 'anna' }],
  ['user rename ann', 'user.rename', { user: 'ann', username: '' }],
  ['user reset-password ann --mail', 'user.reset-password', { user: 'ann', mail: true }],
  ['user reset-password ann --keep-devices', 'user.reset-password', { user: 'ann', keepDevices: true }],
  ['user grant ann', 'user.grant', { user: 'ann', role: 'admin' }],
  ['user revoke-role ann admin', 'user.revoke-role', { user: 'ann', role: 'admin' }],
  ['sessions list', 'session.list', { limit: 1000 }],
  ['sessions list ann --limit 1', 'session.list', { user: 'ann', limit: 1 }],
  ['sessions kick ann s --revoke', 'session.kick', { user: 'ann', session: 's', revoke: true }],
  ['inbox show ann', 'inbox.show', { user: 'ann' }],
  ['inbox show ann --messages 5 --after 7', 'inbox.show', { user: 'ann', messages: 5, after: 7 }],
  ['inbox show ann --text', 'inbox.show', { user: 'ann', messages: 10, text: true }],
  ['inbox purge ann --all --yes', 'inbox.purge', { user: 'ann', all: true }],
  ['inbox purge ann --before 2026-01-31 --yes', 'inbox.purge', { user: 'ann', before: '2026-01-31' }],
  [`trace ${MESSAGE}`, 'message.trace', { id: MESSAGE }],
  [`trace ${MESSAGE} --user ann`, 'message.trace', { id: MESSAGE, user: 'ann' }],
  ['invite create --uses 5 --expires 2d', 'invite.create', { uses: 5, seconds: 172_800 }],
  ['invite create --expires never', 'invite.create', { uses: 1 }],
  ['invite list', 'invite.list', {}],
  ['invite revoke 3fK0aQz_', 'invite.revoke', { invite: '3fK0aQz_' }],
  ['admin-token create ci --expires never', 'admin-token.create', { name: 'ci', role: 'viewer' }],
  ['admin-token list', 'admin-token.list', {}],
  ['admin-token revoke ci', 'admin-token.revoke', { name: 'ci' }],
  ['stats', 'stats', {}],
  ['reload', 'reload', {}],
  ['drain', 'drain', {}],
  ['drain --spread 60 --wait 90', 'drain', { spread: 60 }],
  ['backup /b.mdb', 'backup', { file: '/b.mdb' }],
  ['backup --no-files /b.mdb', 'backup', { file: '/b.mdb', files: false }],
  ['log-level debug', 'log.level', { level: 'debug' }],
  ['broadcast back in five --from ann', 'broadcast.send', { content: 'back in five', from: 'ann' }],
]

t.test('each command makes its request, with fields that the gateway takes', async t => {
  for (const [words, name, data, input] of REQUESTS) {
    const { asked } = await run(words.split(' '), input)
    const body = JSON.stringify(asked[0]?.data)
    t.same([asked[0]?.name, JSON.parse(body)], [name, data], words)
    t.doesNotThrow(() => parseAdminRequest(name, body), words)
  }
  t.same(
    // `mumi import` makes requests of what it reads: test/process/import.test.ts.
    [...new Set([...REQUESTS.map(([, name]) => name), 'user.import'])].sort(),
    Object.keys(ADMIN_REQUESTS).sort(),
    'all of them',
  )
})

t.test(
  'what concerns accounts and inboxes is also done on an idle store, and only a new account or invite makes one',
  async t => {
    for (const [words, name, , input] of REQUESTS) {
      const { asked } = await run(words.split(' '), input)
      const isOfStore = /^(user|inbox|invite|message|admin-token)\.|^backup$/.test(name)
      t.equal(
        asked[0]?.idle,
        /^(user|invite)\.create$/.test(name) ? 'make' : isOfStore ? 'open' : 'never',
        words,
      )
    }
  },
)

t.test('every command has help with an example and the exit codes, and main.ts knows it', async t => {
  const terminal = {
    run: async () => undefined,
    restore: async () => undefined,
    verify: async () => undefined,
    takeOver: async () => undefined,
    compact: async () => undefined,
    exportPerson: async () => undefined,
    stdin: Readable.from([]),
    stdout: new PassThrough(),
  }
  const program = makeProgram(terminal)
  for (const command of leaves(program)) {
    let help = ''
    command.configureOutput({ writeOut: text => (help += text) })
    command.outputHelp()
    for (const part of [/Examples?:\n {2}.*mumi /, '--json', 'Exit code: 0', '--section.key'])
      t.match(help, part, command.name())
  }
  for (const { name } of program.commands.map(one => ({ name: one.name() })))
    t.ok(isOperatorCommand(name), name)
  for (const name of ['--server', '--server=https://a', '--token-file']) t.ok(isOperatorCommand(name), name)
  for (const name of ['serve', undefined, 'constructor', '--servers']) t.notOk(isOperatorCommand(name))
  const made = operatorCommands(terminal)
  t.equal(made.length + 1, program.commands.length)
})

t.test('wrong words are an error of usage', async t => {
  for (const words of [
    'user',
    'user foo',
    'user show',
    'user show a b',
    'stats --what',
    'completion',
    'drain --wait x',
  ])
    await t.rejects(run(words.split(' ')), { code: /^commander\./ }, words)
})

t.test('what a mistyped word may have been is said', async t => {
  for (const [words, message] of [
    ['user lst', /Did you mean list\?/],
    ['inbox prge ann', /Did you mean purge\?/],
    ['user list --limti 3', /Did you mean --limit\?/],
  ] as const)
    await t.rejects(run(words.split(' ')), { code: /^commander\.unknown/, message }, words)
})

t.test('a number out of its range is an error of usage that names the option and the range', async t => {
  for (const [words, message] of [
    ['inbox show ann --messages 0', /--messages.*'0'.* 1 to 1000\./],
    ['inbox show ann --messages 1001', /--messages.* 1 to 1000\./],
    ['inbox show ann --after x', /--after.*'x'.* 0 to 9007199254740991\./],
    ['inbox show ann --after -1', /--after.*'-1'.* 0 to /],
    ['inbox show ann --after 1e3', /--after.*'1e3'/],
    ['drain --spread 99999', /--spread.* 0 to 3600\./],
    ['drain --wait 1.5', /--wait.*whole number/],
    ['invite create --uses 0', /--uses.* 1 to 1000000\./],
    ['user list --limit 0', /--limit.* 1 to 1000\./],
    ['sessions list --limit 10001', /--limit.* 1 to 10000\./],
  ] as const)
    await t.rejects(run(words.split(' ')), { code: 'commander.invalidArgument', message }, words)
  for (const words of [
    'invite create --expires 0s',
    'invite create --expires 11575d',
    'admin-token create ci --expires 0d',
  ])
    await t.rejects(run(words.split(' ')), { exitCode: 2, message: /^--expires: must be 1s to / }, words)
  const { maximum } = RANGES['inbox.show'].messages
  const show = (messages: number) => JSON.stringify({ user: 'ann', messages })
  t.doesNotThrow(() => parseAdminRequest('inbox.show', show(maximum)))
  t.throws(() => parseAdminRequest('inbox.show', show(maximum + 1)), 'the gateway has the same range')
  const { asked } = await run('invite create --expires 11574d --uses 1000000'.split(' '))
  t.doesNotThrow(() => parseAdminRequest('invite.create', JSON.stringify(asked[0]?.data)))
})

t.test('a password comes from stdin; a deletion is confirmed or not done', async t => {
  t.equal(await readPassword(Readable.from(['\n', 'one\ntwo'])), 'one')
  await t.rejects(readPassword(Readable.from([])), CommandError)
  const answer = (text: string) =>
    confirm('Sure?', Object.assign(Readable.from([text]), { isTTY: true }), new PassThrough())
  await answer('y\n')
  await answer('YES\n')
  await t.rejects(answer('\n'), /nothing was done/)
  await t.rejects(confirm('Sure?', Readable.from(['y\n']), new PassThrough()), /--yes/)
})

t.test('a purge says of what, and an age is a time', async t => {
  for (const words of ['', ' --all --older 1d', ' --older 1w', ' --older d', ' --before 2026-01-31 --all'])
    await t.rejects(
      run(`inbox purge ann --yes${words}`.split(' ')),
      { exitCode: 2 } as unknown as Error,
      words,
    )
  await t.rejects(run(['inbox', 'purge', 'ann', '--all']), /all messages from the inbox of ann.*--yes/)
  const now = Date.UTC(2026, 0, 31)
  t.equal(timeBefore('30d', now), '2026-01-01T00:00:00.000Z')
  t.equal(timeBefore('90s', now), '2026-01-30T23:58:30.000Z')
  t.same([0, 59, 60, 3599, 3600, 86_399, 86_400, 1e6].map(age), [
    '0s',
    '59s',
    '1m',
    '59m',
    '1h',
    '23h',
    '1d',
    '11d',
  ])
})

t.test('the address of a gateway and the token are told from other words; one alone is no use', async t => {
  const words = ['stats', '--server', 'https://a', '--json', '--token-file=t']
  t.same(splitRemote(words), { remote: { server: 'https://a', tokenFile: 't' }, rest: ['stats', '--json'] })
  t.same(splitRemote(['a', '--', '--server', 'x']), { remote: undefined, rest: ['a', '--', '--server', 'x'] })
  for (const one of [
    '--server https://a',
    '--token-file t',
    '--server --token-file',
    '--server= --token-file=t',
  ])
    t.throws(() => splitRemote(one.split(' ')), { exitCode: 2 } as unknown as Error, one)
})

t.test(
  'a token goes to https or to this machine alone, and comes from a file that others cannot read',
  async t => {
    const dir = dataDir(t)
    const tokenFile = join(dir, 'token')
    const token = `ma_${'a'.repeat(16)}_${'b'.repeat(43)}`
    writeFileSync(tokenFile, `${token}\n`, { mode: 0o600 })
    const heard: unknown[] = []
    const server = createServer((asked, response) => {
      heard.push([asked.url, asked.headers.authorization])
      response.end(asked.url === '/v1/reload' ? '<html>' : '{"code":200,"msg":"","data":7}')
    }).listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await once(server, 'listening')
    const here = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const to = (server: string, name = 'stats', file = tokenFile) =>
      askRemote({ server, tokenFile: file }, { name, data: {}, idle: 'never' }, 500)
    t.equal(await to(here), 7)
    t.same(heard.splice(0), [['/v1/stats', `Bearer ${token}`]])
    for (const bad of [
      'chat.example.com',
      'http://chat.example.com:1',
      'http://127.0.0.1.example.com',
      'ftp://localhost',
      `${here}/x`,
      'https://me@a',
    ])
      await t.rejects(to(bad), { exitCode: 2, message: /^--server: must be/ }, bad)
    await t.rejects(to(here, 'reload'), { message: /is not the admin address/ })
    await t.rejects(to(here, 'stats', join(dir, 'none')), /no such file/)
    heard.length = 0
    chmodSync(tokenFile, 0o640)
    await t.rejects(to(here), /chmod go-rwx/)
    chmodSync(tokenFile, 0o600)
    writeFileSync(tokenFile, 'my password')
    await t.rejects(to(here), /has no token/)
    t.same(heard, [], 'nothing was sent')
    writeFileSync(tokenFile, token)
    await new Promise(resolve => server.close(resolve))
    await t.rejects(to(here), { exitCode: 3 } as unknown as Error)
  },
)

t.test('printing: columns, members, and no control characters of clients', async t => {
  t.equal(
    table(
      [
        { id: 1, is_on: true },
        { id: 22, is_on: false },
      ],
      ['id', 'is_on'],
    ),
    'ID  IS ON\n1   yes\n22\n',
  )
  t.equal(
    lines({ a: 1, inbox: { bytes: 2 }, none: undefined }),
    'a            1\ninbox.bytes  2\nnone         \n',
  )
  const many = Array.from({ length: 200_000 }, (_, id) => ({ id }))
  t.ok(table(many, ['id', 'is_on']).endsWith('\n199999\n'))
  t.equal(lines(Object.fromEntries(many.map(({ id }) => [id, 1]))).length, 200_000 * '199999  1\n'.length)
  t.equal(safe('a\u001b[2Jb\u202e\n'), 'a\\u{1b}[2Jb\\u{202e}\\u{a}')
  const data = { '\u009b2J': ['\u007f\u0085\u009f', '\u202a\u202e\u2066\u2069', '\u{e0041}', 'ü漢😀\n'] }
  t.equal(
    jsonLine(data),
    String.raw`{"\u009b2J":["\u007f\u0085\u009f","\u202a\u202e\u2066\u2069","\udb40\udc41","ü漢😀\n"]}` +
      '\n',
  )
  t.same(JSON.parse(jsonLine(data)), data)
})

t.test('where there is nothing to list, words say so', async t => {
  for (const [words, reply, said] of [
    ['user list', { users: [] }, 'No accounts yet.\n'],
    ['user list --role admin', { users: [] }, 'No such accounts.\n'],
    ['sessions list', { sessions: [], total: 0 }, 'No sessions.\n'],
    ['invite list', { invites: [] }, 'No invites.\n'],
    ['admin-token list', { tokens: [] }, 'No tokens.\n'],
  ] as const) {
    const run: Terminal['run'] = async (_, show) => void t.equal(show(reply as never), said, words)
    await makeProgram({ run } as Terminal).parseAsync(words.split(' '), { from: 'user' })
  }
})

t.test('an import that takes none of many rows shows the first thousand', async t => {
  const refused = Array.from({ length: 130_000 }, (_, at) => ({
    row: at + 1,
    id: '',
    email: '',
    reason: 'r',
  }))
  const report = { dryRun: false, taken: 0, there: 0, withoutPassword: [], refused }
  let shown = ''
  const takeOver: Terminal['takeOver'] = async (_, show) => {
    shown = show(report as never)
  }
  const words = ['import', 'mumichat', 'chat.db']
  await makeProgram({ takeOver } as Terminal).parseAsync(words, { from: 'user' })
  t.match(
    shown,
    /\n1000 .*\nand 129000 more \(--json has all\)\n\n0 accounts taken, 0 were there already, 130000 not taken\n$/,
  )
})

t.test('where no gateway runs, a command that needs one says so, with an exit code of its own', async t => {
  const config = loadConfig({ argv: ['--data.dir', dataDir(t)], env: {} })
  const asked = ask(config, { name: 'stats', data: {}, idle: 'never' })
  await t.rejects(asked, { exitCode: 3 } as unknown as Error)
})

t.test('a gateway that does not answer is not waited for; a backup takes its time', async t => {
  const dir = dataDir(t)
  const config = loadConfig({ argv: ['--data.dir', dir], env: {} })
  const server = createServer((asked, response) => {
    // `stats` gets no answer, and the backup gets its own when that was given up.
    if (asked.url === '/v1/stats')
      asked.socket.once('close', () => backup?.end('{"code":200,"msg":"","data":1}'))
    else backup = response
  }).listen(join(dir, 'admin.sock'))
  t.teardown(() => server.close())
  await once(server, 'listening')
  let backup: ServerResponse | undefined
  const taken = once(server, 'request')
  const done = ask(config, { name: 'backup', data: {}, idle: 'never', isLong: true }, 500)
  await taken
  const late = ask(config, { name: 'stats', data: {}, idle: 'never' }, 500)
  await t.rejects(late, {
    message: /admin\.sock: no answer for 0\.5 s; what had begun may still be done$/,
    exitCode: 1,
  })
  t.equal(await done, 1)
})

t.test('nothing is sent to a socket that another user may have made', async t => {
  const dir = dataDir(t)
  const config = loadConfig({ argv: ['--data.dir', dir], env: {} })
  let asked = 0
  const server = createServer((_, response) => {
    asked++
    response.end('{"code":200,"msg":""}')
  }).listen(join(dir, 'admin.sock'))
  t.teardown(() => server.close())
  await once(server, 'listening')
  chmodSync(dir, 0o777)
  const create = { name: 'user.create', data: { password: 'secret' }, idle: 'make' } as const
  await t.rejects(ask(config, create), { message: /chmod go-w/, exitCode: 1 })
  t.equal(asked, 0)
  chmodSync(dir, 0o700)
  await ask(config, create)
  t.equal(asked, 1)
})

t.test('completion: bash proposes commands, then options', async t => {
  const { printed } = await run(['completion', 'bash'])
  const complete = (...words: string[]) => {
    const script = `${printed}\nCOMP_WORDS=(${words.map(word => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _mumi; echo "\${COMPREPLY[@]}"`
    const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' })
    return stderr + stdout.trim()
  }
  t.match(complete('mumi', ''), /\bserve\b.*\buser\b/)
  t.equal(complete('mumi', 'us'), 'user')
  t.equal(complete('mumi', 'user', 're'), 'reset-password rename revoke-role')
  t.match(complete('mumi', 'user', 'list', '--'), /--role.*--json/)
  t.match(complete('mumi', 'user', 'show', 'ann', '--'), /--json/)
  t.equal(complete('mumi', 'stats', '--s'), '--server')
  t.equal(complete('mumi', 'user', 'list', '--to'), '--token-file')
  t.match((await run(['completion', 'zsh'])).printed, /^#compdef mumi/)
  t.match((await run(['completion', 'fish'])).printed, /-n '__fish_seen_subcommand_from user' -a list\n/)
  t.throws(() => completion(makeProgram({} as Terminal), 'csh'), CommandError)
})

t.test('an answer that is no gateway’s is named, and not where the program broke', async t => {
  const id = (data: { id: string }) => data.id.slice(1)
  t.equal(shown({ id: 'abc' }, id), 'bc')
  const named = { name: 'CommandError', message: /^the answer is not that of a gateway of this version/ }
  for (const data of [null, undefined, 7, [], {}, { id: null }]) t.throws(() => shown(data, id), named)
  const time = (data: { at: number }) => new Date(data.at).toISOString()
  t.throws(() => shown({ at: 'x' }, time), named)
  const broken = () => {
    throw new Error('a bug')
  }
  t.throws(() => shown({}, broken), { message: 'a bug' })
})
