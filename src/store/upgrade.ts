/**
 * Data formats of both stores, and the rewrite of older data in the background.
 *
 * 1: version 0.1.0. No number is stored.
 * 2: a row of an inbox has a header: kind, sender, conversation.
 */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { GatewayError, toGatewayError } from '../core/errors.js'

/** What this program writes. It reads every format up to this one. */
export const DATA_FORMAT = 2

/** Rows looked at in one step. */
export const UPGRADE_ROWS = 500
/** Between two steps, so that an upgrade takes the smaller part of the event loop and of the disk. */
const PAUSE_MS = 10

/** What is told when the upgrade of older data begins. */
export interface UpgradeBegun {
  readonly from: number
  readonly to: number
  /** The file with the data as they were; undefined: none was asked for. */
  readonly backup: string | undefined
}

export interface UpgradeOptions {
  /** Folder that gets a backup before anything is changed; undefined: none is made. */
  readonly backupDir?: string
  /** Told the file that the backup will be, and undefined when it is made, or cannot be. */
  readonly onBackUp?: (file: string | undefined) => void
  readonly onBegin?: (begun: UpgradeBegun) => void
}

/** Data of an older format. */
export interface OldData {
  /** Rewrites the next rows and stores how far it got, together. @returns whether any are left */
  upgradeSome(): Promise<boolean>
}

/** @throws GatewayError STORE_UNAVAILABLE if a newer program has written this data */
export function refuseNewer(place: string, format: number): void {
  if (format <= DATA_FORMAT) return
  const reason = `${place} was written by a newer version of this program: its data format is ${format}, and this version knows up to ${DATA_FORMAT}; start the newer version, or restore a backup`
  throw new GatewayError('STORE_UNAVAILABLE', { reason })
}

const BACKUP = 'backup-format-'

interface BackupPlace {
  readonly dir: string
  readonly format: number
  /** Of its name, without the dot. */
  readonly ending: string
  readonly onBackUp?: UpgradeOptions['onBackUp'] | undefined
}

/**
 * Makes the backup that stands before an upgrade. A process that was killed while it made one left a part, which goes.
 * @param make writes the file, which is whole when it resolves
 * @returns the file
 * @throws GatewayError as `make` does, with what may be done
 */
export async function backUpFirst(
  { dir, format, ending, onBackUp }: BackupPlace,
  make: (file: string) => Promise<unknown>,
): Promise<string> {
  const now = new Date().toISOString().replace(/[:.]/g, '-')
  const file = join(dir, `${BACKUP}${format}-${now}.${ending}`)
  try {
    for (const name of readdirSync(dir))
      if (name.startsWith(BACKUP) && name.includes('.part-')) rmSync(join(dir, name), { recursive: true })
    onBackUp?.(file)
    await make(file)
  } catch (thrown) {
    const { kind, info, message } = toGatewayError(thrown, 'STORE_UNAVAILABLE')
    // Not its kind: the name of the file is no field of a request here.
    const code = kind === 'STORE_FULL' ? kind : 'STORE_UNAVAILABLE'
    const what = `data of format ${format} are to be upgraded, and no backup of them could be written to ${file}`
    const cure = 'make room, or make a backup yourself and set store.upgradeBackup to false'
    const why = info?.reason ?? (thrown instanceof Error ? thrown.message : message)
    throw new GatewayError(code, { reason: `${what}: ${why}; ${cure}` }, thrown)
  } finally {
    onBackUp?.(undefined)
  }
  return file
}

/**
 * Upgrades while the gateway runs. Rows of both formats are read, so nobody waits for it. A stop or a failure leaves the
 * rest to the next open.
 */
export class Upgrade {
  #isStopped = false
  readonly #running: Promise<void>

  constructor(data: OldData) {
    this.#running = this.#run(data).catch(() => undefined)
  }

  /** Resolves when nothing of it is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  /** Resolves when all is upgraded, or a step has failed. */
  done(): Promise<void> {
    return this.#running
  }

  async #run(data: OldData): Promise<void> {
    while (!this.#isStopped && (await data.upgradeSome())) await delay(PAUSE_MS)
  }
}
