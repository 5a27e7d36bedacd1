/** What the gauges of a gateway are asked of (core/watched.ts). */
import { statfsSync } from 'node:fs'
import type { Config } from '../config/config.js'
import type { Watched } from '../core/watched.js'
import { Census } from '../inbox/census.js'
import { UnconfirmedRounds } from '../inbox/unconfirmed.js'
import type { CopyableStore } from '../store/contents.js'
import type { Parts } from './compose.js'
import { storeBytes } from './stores.js'

export interface Watching {
  readonly sources: Watched
  stop(): Promise<void>
}

/** @param store open */
export function startWatching(config: Config, store: CopyableStore, parts: Parts): Watching {
  const { inbox, limits, retention } = parts
  const census = new Census(
    () => inbox.readers(),
    () => inbox.readerCount,
  )
  const rounds = new UnconfirmedRounds(store, retention.confirmedByAll, config.metrics.inboxesPerSecond)
  rounds.start()
  const isEmbedded = config.store.type === 'embedded'
  return {
    sources: {
      storeBytes: () => (isEmbedded ? storeBytes(config) : undefined),
      storePages: () => store.space,
      diskFreeBytes: () => diskFree(config.data.dir),
      passwords: () => limits.logins.load,
      waitingMessages: () => inbox.waiting,
      readers: () => census.counts(),
      unconfirmed: () => rounds.found,
    },
    stop: async () => {
      census.stop()
      await rounds.stop()
    },
  }
}

/** What this user may still write there, bytes; undefined if it cannot be told. */
function diskFree(dir: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(dir)
    return bavail * bsize
  } catch {
    return undefined
  }
}
