/** Reading the old server's database: what is taken, what is not, and files that somebody made to do harm. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readOldAccounts } from '../../src/import/mumichat.js'
import { readTable } from '../../src/import/sqlite.js'
import { checkOldAccount } from '../../src/protocol/admin.js'
import { database, OLD_SCHEMA, type OldUserRow, oldDatabase, oldHash } from '../helpers/old-server.js'

function file(t: Test, bytes: Uint8Array | string, name = 'chat.db'): string {
  const path = join(t.testdir(), name)
  writeFileSync(path, bytes)
  return path
}

const read = async (t: Test, rows: readonly OldUserRow[], schema?: string) =>
  readOldAccounts(file(t, await oldDatabase(rows, schema)))

const ERIC = { id: '289559048', email: 'abc@example.com', password: 'p@ssw0rd' }

t.test('an account of the old server, as it is', async t => {
  const { rows, refused } = await read(t, [ERIC])
  t.same(refused, [])
  t.same(rows, [
    {
      row: 1,
      account: {
        ...{ id: '289559048', email: 'abc@example.com', passwordHash: oldHash('p@ssw0rd') },
        ...{ username: '', firstName: 'Eric', lastName: 'Chen', profileImage: '', key: '' },
      },
    },
  ])
})

const BAD: readonly [row: OldUserRow, reason: string | RegExp][] = [
  [{ ...ERIC, id: '28955904' }, 'id: is not a user id'],
  [{ ...ERIC, id: '089559048' }, 'id: is not a user id'],
  [{ ...ERIC, id: null }, 'id: is not a user id'],
  [{ ...ERIC, email: '' }, 'email: must not be empty'],
  [{ ...ERIC, hash: 'XUBuXESv' }, 'passwordHash: is not one that the old server made'],
  [{ ...ERIC, hash: `${'A'.repeat(87)}=` }, 'passwordHash: is not one that the old server made'],
  [{ ...ERIC, hash: '$2b$04$'.padEnd(60, 'a') }, 'passwordHash: is not one that the old server made'],
  [{ ...ERIC, firstName: 'x'.repeat(129) }, 'firstName: longer than 128 characters'],
  [{ ...ERIC, lastName: 'a\0b' }, 'last_name: is not a text, has NUL, or is too long'],
  [{ ...ERIC, firstName: new Uint8Array([1, 2]) }, 'first_name: is not a text, has NUL, or is too long'],
  [{ ...ERIC, key: 'k'.repeat(8193) }, 'key: is not a text, has NUL, or is too long'],
  [{ ...ERIC, image: 'k'.repeat(50_000_000) }, 'profile_image: is not a text, has NUL, or is too long'],
]

t.test('rows that are no account are refused by name, and the others are taken', async t => {
  for (const [row, reason] of BAD) {
    const good = { ...ERIC, id: '267475447', email: 'cde@example.com' }
    const { rows, refused } = await read(t, [row, good])
    t.match(refused, [{ row: 1, reason }], String(reason))
    t.match(rows, [{ row: 2, account: { id: '267475447' } }])
  }
})

t.test('of several rows with one id, email or user name the first counts', async t => {
  const eric = { ...ERIC, username: 'eric' }
  const { rows, refused } = await read(t, [
    eric,
    { ...eric, email: 'other@example.com' },
    { ...eric, id: '267475447', email: 'ABC@EXAMPLE.com' },
    { ...eric, id: '267475448', email: 'third@example.com' },
    { id: '267475449', email: 'none@example.com', username: '' },
    { id: '267475450', email: 'nor@example.com', username: '' },
  ])
  t.same(
    rows.map(({ row }) => row),
    [1, 5, 6],
  )
  t.match(refused, [
    { row: 2, email: 'other@example.com', reason: 'id: is that of row 1, too' },
    { row: 3, id: '267475447', reason: 'email: is that of row 1, too' },
    { row: 4, id: '267475448', reason: 'username: is that of row 1, too' },
  ])
})

t.test('what is refused is shown in part, however long it is', async t => {
  const { refused } = await read(t, [{ ...ERIC, id: '9'.repeat(5000), email: 'e'.repeat(5000) }])
  t.match(refused, [{ id: `${'9'.repeat(64)}…`, email: `${'e'.repeat(64)}…` }])
})

t.test('columns may be missing or in another order, and numbers be numbers', async t => {
  const path = file(
    t,
    await database(
      'CREATE TABLE "user" (Email, user_id INTEGER, password)',
      `INSERT INTO "user" VALUES ('abc@example.com', 289559048, '${oldHash('x')}')`,
    ),
  )
  t.match(await readOldAccounts(path), { rows: [{ account: { id: '289559048', firstName: '', key: '' } }] })
})

t.test('UTF-16, a WAL header, and a file of no rows', async t => {
  const utf16 = file(
    t,
    await database("PRAGMA encoding = 'UTF-16'", OLD_SCHEMA, "INSERT INTO user(email) VALUES ('é')"),
  )
  t.match(await readOldAccounts(utf16), { refused: [{ email: 'é' }] })
  const bytes = await oldDatabase([ERIC])
  bytes.fill(2, 18, 20)
  t.match(await readOldAccounts(file(t, bytes)), { rows: [{ row: 1 }] })
  t.same(await read(t, []), { rows: [], refused: [] })
})

t.test('a file that is none, or not whole, is refused by name', async t => {
  const refuses = (path: string, message: RegExp) =>
    t.rejects(readOldAccounts(path), { message }, String(message))
  const whole = await oldDatabase(
    Array.from({ length: 200 }, (_, i) => ({ ...ERIC, id: `${100_000_000 + i}` })),
  )
  await refuses(join(t.testdir(), 'none.db'), /ENOENT/)
  await refuses(file(t, ''), /is not an SQLite database$/)
  await refuses(file(t, 'SQLite format 4\0'), /is not an SQLite database$/)
  await refuses(file(t, 'SQLite format 3\0'.padEnd(4096, 'x')), /SQLite: /)
  await refuses(file(t, await database('CREATE TABLE users (id)')), /has no table user$/)
  await refuses(file(t, whole.slice(0, whole.length >> 1)), /SQLite: |is damaged: /)
  for (const name of ['chat.db-wal', 'chat.db-journal']) {
    const path = file(t, whole)
    writeFileSync(`${path}${name.slice('chat.db'.length)}`, 'x')
    await refuses(path, new RegExp(`${name}: holds changes .* Stop the old server`))
  }
  const folder = join(t.testdir(), 'folder.db')
  mkdirSync(folder)
  await refuses(folder, /is not a regular file$/)
  const fifo = join(t.testdir(), 'fifo.db')
  t.equal(spawnSync('mkfifo', [fifo]).status, 0)
  await refuses(fifo, /is not a regular file$/)
  const large = file(t, whole)
  truncateSync(large, (512 << 20) + 1)
  await refuses(large, /is larger than 512 MiB$/)
})

t.test('a symbolic link to a database is one', async t => {
  const path = file(t, await oldDatabase([ERIC]))
  symlinkSync(path, `${path}.link`)
  t.match(await readOldAccounts(`${path}.link`), { rows: [{ row: 1 }] })
})

t.test('a schema that computes rows, columns or has effects is not asked', async t => {
  const endless =
    'CREATE VIEW "user" AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS user_id, i AS email, i AS password FROM n'
  await t.rejects(readOldAccounts(file(t, await database(endless))), { message: /has no table user$/ })
  const generated = OLD_SCHEMA.replace(
    '"first_name" varchar(255)',
    '"first_name" AS (hex(zeroblob(400000000)))',
  )
  const path = file(
    t,
    await database(
      generated,
      `INSERT INTO user(user_id, email, password) VALUES ('289559048', 'abc@example.com', '')`,
    ),
  )
  t.match(await readOldAccounts(path), { rows: [{ account: { firstName: '' } }] })
  const dir = t.testdir()
  const trigger = await database(
    OLD_SCHEMA,
    `CREATE TRIGGER x AFTER INSERT ON user BEGIN SELECT writefile('${dir}/harm', 'x'); END`,
  )
  t.match(await readOldAccounts(file(t, trigger)), { rows: [], refused: [] })
  t.notOk(existsSync(`${dir}/harm`))
})

t.test('any byte of a file may be another, and it is read or refused, and nothing else', async t => {
  const whole = await oldDatabase(
    Array.from({ length: 40 }, (_, i) => ({ ...ERIC, id: `${100_000_000 + i}` })),
  )
  const dir = t.testdir()
  let refusedFiles = 0
  for (let round = 0; round < 150; round++) {
    const bytes = whole.slice()
    // Half of them in the header and the first cells, where most goes wrong.
    const places = Array.from({ length: 1 + (round % 4) }, () =>
      Math.floor(Math.random() * (round % 2 === 0 ? bytes.length : 256)),
    )
    for (const place of places) bytes[place] = Math.floor(Math.random() * 256)
    const path = join(dir, 'changed.db')
    writeFileSync(path, bytes)
    try {
      const { rows, refused } = await readOldAccounts(path)
      for (const { account } of rows) checkOldAccount({ ...account })
      t.ok(rows.length + refused.length < 1000)
    } catch (thrown) {
      refusedFiles++
      if (!(thrown instanceof Error) || thrown.name !== 'SourceError') t.fail(`${places}: ${thrown}`)
    }
  }
  t.ok(refusedFiles > 0, `${refusedFiles} refused`)
})

t.test('a table is read in the order of its rows', async t => {
  const path = file(t, await database('CREATE TABLE a (x, y)', "INSERT INTO a VALUES (1, 'a'), (NULL, 'b')"))
  t.same(await readTable(path, 'a', ['y', 'x', 'z']), [
    ['a', 1, null],
    ['b', null, null],
  ])
})
