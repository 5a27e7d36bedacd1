/** `mumi import mumichat`: on the store of a gateway that does not run, and on one that does. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { jsonClient, loggedIn } from '../helpers/gateway.js'
import { type OldUserRow, oldDatabase } from '../helpers/old-server.js'
import { mumi, serve } from '../helpers/program.js'

const dataOf = (t: Test) => ['--data.dir', join(t.testdirName, 'data'), '--passwords.cost', '4']

const run = (t: Test, words: string) => mumi(t, [...words.split(' '), ...dataOf(t)]).ended

async function report(t: Test, words: string) {
  const { code, stdout, stderr } = await run(t, `${words} --json`)
  t.match(stderr, code === 0 ? /^$/ : /^mumi: \d+ accounts were not taken\n$/)
  return { code, ...JSON.parse(stdout) }
}

async function put(t: Test, rows: readonly OldUserRow[], name = 'chat.db') {
  writeFileSync(join(t.testdirName, name), await oldDatabase(rows))
}

const ERIC = { id: '289559048', email: 'abc@example.com', password: 'p@ssw0rd' }
const MANY = Array.from({ length: 45 }, (_, i) => ({
  ...{ id: String(300_000_000 + i), email: `user${i}@example.com`, password: `secret ${i}` },
}))

t.test('accounts come along with id, names and password, before the first start', async t => {
  t.testdir()
  await put(t, [
    ERIC,
    { ...ERIC, id: '267475447', email: 'no address' },
    { ...MANY[0], password: '' },
    ...MANY.slice(1),
  ])
  const about = { taken: 46, there: 0, withoutPassword: [{ id: '300000000' }], refused: [{ row: 2 }] }
  t.match(await report(t, 'import mumichat chat.db --dry-run'), { code: 1, dryRun: true, ...about })
  t.match(await run(t, 'user list'), { code: 1, stderr: /no store/ }, 'a dry run makes none')
  t.match(await run(t, 'import mumichat chat.db'), {
    code: 1,
    stdout:
      /^Not taken:\nROW {2}ID .*\n2 +267475447 +no address +email: is not an email address\n\nWithout .*46 accounts taken, 0 were there already, 1 not taken$/s,
    stderr: 'mumi: 1 accounts were not taken\n',
  })
  t.match(await report(t, 'import mumichat chat.db --dry-run'), {
    taken: 0,
    there: 46,
    refused: [{ row: 2 }],
  })
  t.match(await run(t, 'user list --limit 1'), { stdout: /\n289559048 {2}abc@example\.com/ }, 'oldest first')
  const gateway = mumi(t, ['serve', '--http.port=0', '--mqtt.port=0', '--ops.port=0', ...dataOf(t)])
  const { http } = (await gateway.logged('gateway.ready')) as { http: { port: number } }
  const port = { httpPort: http.port }
  for (const password of [
    'p@ssw0rD',
    'XUBuXESv/wD75nprJz0C6DYoHS32tW3ekoKuwhZdFDPpeeZQ+jlQwRmZSpiLFPurS+FqCwwzeEnxitkzREhS9w==',
  ]) {
    const client = await jsonClient(t, port)
    t.match(await client.action('login', { email: ERIC.email, password }), { code: 10000 }, 'a wrong one')
  }
  const eric = await loggedIn(t, port, ERIC)
  t.match(await eric.action('query', { email: ERIC.email }), { data: [{ id: ERIC.id, firstName: 'Eric' }] })
  t.match(await eric.action('password', { password: ERIC.password, newPassword: 'other' }), { code: 200 })
  t.match(await run(t, 'import mumichat chat.db'), { code: 1, stdout: /\n0 accounts taken, 46 were there/ })
  t.match(await eric.action('logout'), { code: 200 })
  t.match(await eric.action('login', { email: ERIC.email, password: 'other' }), { code: 202 })
  gateway.child.kill('SIGTERM')
  t.match(await gateway.ended, { code: 0 })
})

t.test(
  'a gateway that runs takes them meanwhile, from two commands at once, and goes on where one stopped',
  async t => {
    const { child, logged, ended } = serve(t, ['--passwords.cost=4'])
    const { http } = (await logged('gateway.ready')) as { http: { port: number } }
    await put(t, MANY.slice(0, 7), 'first.db')
    await put(t, MANY)
    mkdirSync(join(t.testdirName, 'conf'))
    writeFileSync(join(t.testdirName, 'conf/app.ini'), '[database]\nTYPE = sqlite3\nNAME = chat\nPATH = ./\n')
    t.match(await report(t, 'import mumichat first.db'), { code: 0, taken: 7 })
    const both = await Promise.all([
      report(t, 'import mumichat conf/app.ini'),
      report(t, 'import mumichat chat.db'),
    ])
    const taken = both.map(one => one.taken)
    t.equal(taken[0] + taken[1], 38, `${taken}`)
    // Both may have hashed one account at the same time; the store gives it to one of them, and it is there for the other.
    t.match(both, [
      { code: 0, refused: [], there: 45 - taken[0] },
      { code: 0, refused: [], there: 45 - taken[1] },
    ])
    t.match(await report(t, 'import mumichat chat.db'), { code: 0, taken: 0, there: 45, refused: [] })
    for (const user of [MANY[0], MANY[44]]) if (user) await loggedIn(t, { httpPort: http.port }, user)
    t.match(await run(t, 'user create eve@example.com'), { code: 0 })
    await put(t, [
      { ...ERIC, email: 'EVE@example.com' },
      { ...ERIC, id: MANY[3]?.id ?? '' },
    ])
    t.match(await report(t, 'import mumichat chat.db'), {
      code: 1,
      refused: [
        { row: 1, reason: 'email: another account has it' },
        { row: 2, reason: 'id: another account has it' },
      ],
    })
    child.kill('SIGTERM')
    t.match(await ended, { code: 0 })
  },
)

t.test('a file that cannot be read is one line, and exit code 1', async t => {
  t.testdir({ 'chat.db': 'no database' })
  t.match(await run(t, 'import mumichat chat.db'), {
    code: 1,
    stdout: '',
    stderr: /^mumi: .*chat\.db: is not an SQLite database\n$/,
  })
  t.testdir({ conf: { 'app.ini': '[database]\nPATH = data/\nNAME = chat\n' } })
  const [beside, above] = [join(t.testdirName, 'conf/data/chat.db'), join(t.testdirName, 'data/chat.db')]
  t.match(await run(t, 'import mumichat conf/app.ini'), {
    code: 1,
    stderr: `conf/app.ini: PATH and NAME of [database] are ${above} or ${beside}, and there is no such file; name the database itself`,
  })
  for (const folder of ['data', 'conf/data']) mkdirSync(join(t.testdirName, folder))
  for (const file of [beside, above]) writeFileSync(file, 'no database')
  t.match(await run(t, 'import mumichat conf/app.ini'), {
    code: 1,
    stderr: `conf/app.ini: may mean ${above} or ${beside}; name the database itself`,
  })
  t.match(await run(t, 'import mumichat none.ini'), { code: 1, stderr: /^mumi: ENOENT.*none\.ini'\n$/ })
  t.match(await run(t, 'import mumichat'), { code: 2, stderr: /missing required argument/ })
})
