/** The commands for the gateway as a whole. */
import { Command } from 'commander'
import { RANGES } from '../../protocol/admin-ranges.js'
import { asNumber, asPath } from './input.js'
import { lines, type Row, safe } from './print.js'
import type { Terminal } from './terminal.js'

export function operationCommands(terminal: Terminal): Command[] {
  return [
    stats(terminal),
    logLevel(terminal),
    reload(terminal),
    drain(terminal),
    backup(terminal),
    restore(terminal),
    verify(terminal),
    compact(terminal),
    broadcast(terminal),
  ]
}

const stats = (terminal: Terminal): Command =>
  new Command('stats')
    .description('print counts of the running gateway; /metrics has more')
    .addHelpText('after', '\nExample:\n  mumi stats --json')
    .action(() => terminal.run({ name: 'stats', data: {}, idle: 'never' }, lines))

const logLevel = (terminal: Terminal): Command =>
  new Command('log-level')
    .description('print or set the lowest level that is logged, until the next start or reload')
    .argument('[level]', 'trace, debug, info, warn, error, fatal or silent')
    .addHelpText('after', '\nExample:\n  mumi log-level debug')
    .action((level: string | undefined) =>
      terminal.run({ name: 'log.level', data: { level }, idle: 'never' }, (data: Row) => `${data.level}\n`),
    )

const backup = (terminal: Terminal): Command =>
  new Command('backup')
    .description(
      'write a copy of the store into one file, and of files beside it, while the gateway serves, or of an idle store',
    )
    .argument('<file>', 'a file that is not there yet, on the machine of the gateway', asPath)
    .option('--no-files', 'without the files that people sent, which are copied into <file>.files')
    .addHelpText('after', '\nExample:\n  mumi backup /backups/mumi-$(date +%F).mdb')
    .action((file: string, { files }: { files: boolean }) =>
      terminal.run(
        { name: 'backup', data: { file, ...(!files && { files }) }, idle: 'open', isLong: true },
        (data: Row) =>
          `${safe(data.file)}: ${data.bytes} bytes in ${data.seconds} s\n${filesText(`${data.file}.files`, data.files)}`,
      ),
    )

/** A line of the files that people sent, if there are any, and one for each that is missing or damaged. */
function filesText(place: string, files: unknown): string {
  if (files === undefined) return ''
  const { bucket, count, bytes, faults = [] } = files as Row & { readonly faults?: readonly string[] }
  if (bucket !== undefined) return `files are in the bucket ${safe(bucket)}, which has a backup of its own\n`
  const lines = faults.map(fault => `${safe(fault)}\n`).join('')
  return count === 0 && lines === '' ? '' : `${safe(place)}: ${count} files, ${bytes} bytes\n${lines}`
}

const restore = (terminal: Terminal): Command =>
  new Command('restore')
    .description('make the store of a backup; no store may be in data.dir, or the database must be empty')
    .argument('<file>', 'a backup', asPath)
    .addHelpText(
      'after',
      '\nExample:\n  mv data/store data/store.old && mumi restore /backups/mumi-2026-01-31.mdb',
    )
    .action((file: string) =>
      terminal.restore(
        file,
        (data: Row) =>
          `${safe(data.dir ?? data.database)}: ${data.bytes} bytes, checked\n${filesText('files', data.files)}`,
      ),
    )

const verify = (terminal: Terminal): Command =>
  new Command('verify')
    .description('read the store of a gateway that does not run, and say what contradicts itself')
    .addHelpText('after', '\nExample:\n  mumi verify --data.dir /var/lib/mumi')
    .action(() =>
      terminal.verify(({ faults, ...counts }: Row) =>
        [lines(counts), ...(faults as readonly string[]).map(fault => `${safe(fault)}\n`)].join(''),
      ),
    )

const compact = (terminal: Terminal): Command =>
  new Command('compact')
    .description('make the file of the embedded store of a gateway that does not run small again')
    .addHelpText('after', '\nExample:\n  mumi compact --data.dir /var/lib/mumi')
    .action(() =>
      terminal.compact(
        ({ dir, before, after }: Row) => `${safe(dir)}: ${before} bytes before, ${after} bytes now\n`,
      ),
    )

const list = (keys: unknown): string => (keys as readonly string[]).join(', ') || 'nothing'

const reload = (terminal: Terminal): Command =>
  new Command('reload')
    .description('read the config of the running gateway again, as SIGHUP does')
    .addHelpText('after', '\nExample:\n  mumi reload')
    .action(() =>
      terminal.run({ name: 'reload', data: {}, idle: 'never' }, ({ changed, atRestart }: Row) => {
        const later = atRestart as readonly string[]
        return `changed: ${list(changed)}\n${later.length > 0 ? `from the next start on: ${list(later)}\n` : ''}`
      }),
    )

const drain = (terminal: Terminal): Command =>
  new Command('drain')
    .description('send clients away one after the other, and then end the gateway')
    .option(
      '--spread <seconds>',
      'the last one leaves after so long (0 to 3600); default: shutdown.spread',
      asNumber(RANGES.drain.spread),
    )
    .option(
      '--wait <seconds>',
      'return when the gateway has ended, at most after so long',
      asNumber({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    )
    .addHelpText('after', '\nExample:\n  mumi drain --spread 60 --wait 90 && systemctl restart mumi')
    .action(({ spread, wait }: { spread?: number; wait?: number }) =>
      terminal.run(
        { name: 'drain', data: { spread }, idle: 'never', waitSeconds: wait },
        ({ connections, seconds }: Row) => `${connections} connections end within ${seconds} s\n`,
      ),
    )

const broadcast = (terminal: Terminal): Command =>
  new Command('broadcast')
    .description('send a message to everybody who is online now')
    .argument('<text...>', 'the message')
    .option('--from <user>', 'its sender; default: the admin who registered first')
    .addHelpText('after', '\nExample:\n  mumi broadcast "back in five minutes"')
    .action((words: string[], { from }: { from?: string }) =>
      terminal.run(
        { name: 'broadcast.send', data: { content: words.join(' '), from }, idle: 'never' },
        (data: Row) => `sent from ${data.from}\n`,
      ),
    )
