/** What a start tells the operator. */
import type { Config } from '../config/config.js'
import type { Logger } from '../core/log.js'
import type { UpgradeBegun } from '../store/upgrade.js'

/** The address by which browsers reach the gateway is not known. */
export function sayNoLinks({ files, http, mail }: Config, log: Logger): void {
  if (mail.url !== '')
    log.warn({ event: 'mail.no-links' }, 'http.publicUrl is not set: letters have codes and no links')
  if (files.enabled && http.enabled)
    log.warn(
      { event: 'files.no-links' },
      'http.publicUrl is not set: links to files are paths without a host',
    )
}

/** A large store takes minutes, in which nothing else is said. */
export function sayBackup(log: Logger, file: string): void {
  log.info({ event: 'store.backing-up', file }, 'a backup is made before data are upgraded')
}

/** Of MongoDB no backup was made: only its operator knows where one belongs. */
export function sayUpgrade(log: Logger, begun: UpgradeBegun): void {
  const how = begun.backup ?? 'no backup was made'
  log.warn({ event: 'store.upgrading', ...begun }, `data of an older format are upgraded; before: ${how}`)
}
