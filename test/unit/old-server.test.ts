/** The old server's app.ini in our keys. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { databaseOf, parseOldConfig } from '../../src/config/old-server.js'

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

t.test('its database is named as the old server did', async t => {
  const file = join(t.testdir(), 'app.ini')
  writeFileSync(file, FILE)
  t.equal(databaseOf(file), './db/chat.db')
  t.equal(databaseOf('chat.db'), undefined)
})
