/** What a start tells the operator. */
import t from 'tap'
import { sayBackup, sayNoLinks, sayUpgrade } from '../../src/app/notices.js'
import { loadConfig } from '../../src/config/config.js'
import type { Logger } from '../../src/core/log.js'

function lines() {
  const said: unknown[] = []
  const say = (level: string) => (about: object, text: string) => void said.push({ level, ...about, text })
  return { said, log: { info: say('info'), warn: say('warn') } as unknown as Logger }
}
const config = (...argv: string[]) => loadConfig({ argv, env: {} })

t.test('links that nobody can follow are warned of, where there would be any', async t => {
  const events = (...argv: string[]) => {
    const { said, log } = lines()
    sayNoLinks(config(...argv), log)
    return said.map(line => (line as { event: string }).event)
  }
  t.same(events(), ['files.no-links'])
  t.same(events('--files.enabled=false'), [])
  t.same(events('--mail.url=smtp://127.0.0.1', '--mail.from=a@example.com'), [
    'mail.no-links',
    'files.no-links',
  ])
})

t.test('an upgrade names its backup, or that there is none', async t => {
  const { said, log } = lines()
  sayBackup(log, 'backup-format-1')
  sayUpgrade(log, { from: 1, to: 2, backup: 'backup-format-1' })
  sayUpgrade(log, { from: 1, to: 2, backup: undefined })
  t.match(said, [
    { level: 'info', event: 'store.backing-up', file: 'backup-format-1' },
    { level: 'warn', event: 'store.upgrading', text: /before: backup-format-1$/ },
    { level: 'warn', event: 'store.upgrading', text: /before: no backup was made$/ },
  ])
})
