/** The gateway of `mumi serve`, and what its start shows on a terminal. */
import { Gateway, type Owner, type Ports } from '../app/gateway.js'
import { backupSize } from '../app/growing.js'
import type { Config } from '../config/config.js'
import type { Logger } from '../core/log.js'
import { type Output, Progress } from './progress.js'

export { inheritedSockets } from '../app/gateway.js'
export { Supervisor } from '../app/supervisor.js'

export interface Started {
  readonly gateway: Gateway
  /** See Gateway.start. */
  readonly starting: Promise<Ports>
}

/** Begins the start. While a backup is made before an upgrade, a terminal shows how far it is. */
export function startGateway(
  config: Config,
  log: Logger,
  owner: Owner,
  output: Output = process.stderr,
): Started {
  const progress = new Progress('backup', { unit: 'bytes', output })
  let file: string | undefined
  const onBackUp = (begun: string | undefined) => {
    file = begun
    progress.clear()
    owner.onBackUp?.(begun)
  }
  const gateway = new Gateway(config, log, { ...owner, onBackUp })
  const size = () => (file === undefined ? undefined : backupSize(config, file))
  return { gateway, starting: progress.watch(size, () => gateway.start()) }
}
