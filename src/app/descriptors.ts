/** File descriptors: whether there are enough of them, and whether they run out. */
import type { Config } from '../config/config.js'
import type { Logger } from '../core/log.js'
import type { Metrics } from '../core/metrics.js'
import { watchFiles } from '../net/file-limit.js'
import { fileLimitFault } from './checks.js'

/** That none is left is logged no more often, ms: it is found once a second while it lasts. */
const SAY_EVERY_MS = 60_000

/** @returns stops the watch */
export function watchFileLimit(
  config: Config,
  log: Logger,
  { outOfFiles }: Pick<Metrics, 'outOfFiles'>,
): () => void {
  const fault = fileLimitFault(config)
  if (fault !== undefined) log.warn({ event: 'files.too-few' }, fault)
  let saidAt = Number.NEGATIVE_INFINITY
  return watchFiles(({ code }) => {
    outOfFiles.inc()
    const now = performance.now()
    if (now - saidAt < SAY_EVERY_MS) return
    saidAt = now
    log.error({ event: 'files.out', code }, 'no file descriptor left: new connections are closed')
  })
}
