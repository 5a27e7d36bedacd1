/** The old server's app.ini in our keys. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { databasesOf, IniError, parseOldConfig } from '../../src/config/old-server.js'

const FILE = `app_mode = release
[paths]
data = ./data
[server]
HTTP_PORT = 8080
[database]
path = ./db/
name = chat
[other]
key = 1
`

t.test('its keys are ours, and a line says which have no effect', async t => {
  const lines: string[] = []
  const config = parseOldConfig(FILE, line => lines.push(line))
  t.same(config, { log: { level: 'info' }, data: { dir: './data' }, http: { port: '8080' } })
  t.same(
    lines.map(line => line.split(':')[0]),
    ['server.HTTP_PORT', 'database.path', 'database.name', 'other.key'],
  )
})

t.test('names that mean something to the language are unknown, or refused, and nothing more', async t => {
  const parsed = (text: string) => {
    const lines: string[] = []
    return {
      config: parseOldConfig(text, line => lines.push(line)),
      lines: lines.map(one => one.split(':')[0]),
    }
  }
  t.same(parsed('[constructor]\na = 1\n[a.b.toString]\nc = 2\n[server]\nvalueOf = 3\nhttp_port = 80'), {
    config: { http: { port: '80' } },
    lines: ['constructor.a', 'server.valueOf', 'server.http_port', 'a.b.toString.c'],
  })
  for (const bad of [
    '[__proto__]\nx = 1',
    '[server]\n__proto__ = 1',
    '[__proto__.server]\nhttp_port = 1',
    '[a.__proto__]',
  ])
    t.throws(() => parsed(bad), { message: 'INI: __proto__ is no name of a section or key' }, bad)
  t.same(parsed('; __proto__\n[paths]\ndata = __proto__').config, { data: { dir: '__proto__' } })
})

t.test('its database is looked for where the old server was started, beside app.ini, and here', async t => {
  const dir = t.testdir({ conf: {} })
  const file = join(dir, 'conf', 'app.ini')
  writeFileSync(file, FILE)
  t.same(
    databasesOf(file),
    [dir, join(dir, 'conf'), process.cwd()].map(from => join(from, 'db', 'chat.db')),
  )
  t.equal(databasesOf('chat.db'), undefined)
  writeFileSync(file, '[database]\nPATH = /srv/old\nNAME = chat')
  t.same(databasesOf(file), ['/srv/oldchat.db'], 'joined without a slash')
  writeFileSync(file, '[__proto__.database]\npath = x')
  t.throws(() => databasesOf(file), IniError)
})
