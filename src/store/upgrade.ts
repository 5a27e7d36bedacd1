/**
 * Data formats of both stores, and the rewrite of older data in the background.
 *
 * 1: version 0.1.0. No number is stored.
 * 2: a row of an inbox has a header: kind, sender, conversation.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { GatewayError } from '../core/errors.js'

/** What this program writes. It reads every format up to this one. */
export const DATA_FORMAT = 2

/** Rows looked at in one step. */
export const UPGRADE_ROWS = 500
/** Between two steps, so that an upgrade takes the smaller part of the event loop and of the disk. */
const PAUSE_MS = 10

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
