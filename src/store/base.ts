/** What every store has in common: the roles of an open store, the upgrade of older data, and one close. */
import { GatewayError } from '../core/errors.js'
import type { Beside, Contents, CopyableStore } from './contents.js'
import type { CursorStore, InboxLog, KeyValue, Roles, SharedRecords, Users } from './store.js'
import { backUpFirst, DATA_FORMAT, type OldData, Upgrade, type UpgradeOptions } from './upgrade.js'

/** The parts of one open store. A store that is opened again gets new ones. */
export interface StoreParts extends Roles {
  readonly contents: Contents
  readonly format: OldData & {
    /** Notes today's format. Called before anything else is written. @throws GatewayError if a newer program wrote the data */
    begin(): Promise<void>
    /** Number of the older format that there are data of; undefined if there are none. */
    old(): Promise<number | undefined>
  }
}

export abstract class BaseStore<P extends StoreParts> implements CopyableStore {
  #parts: P | undefined
  #upgrade: Upgrade | undefined
  #closing: Promise<void> | undefined

  /** Of the files that `backupOf` writes. */
  protected abstract readonly backupEnding: string

  /** @param upgrades false: data of an older format is left as it is, to look at it or to copy it */
  constructor(private readonly upgrades: UpgradeOptions | boolean = true) {}

  /** Opens and locks. If it fails, nothing is open. */
  protected abstract openParts(): Promise<P>
  /** Finishes what an earlier process left undone. Called when the roles can be taken. */
  protected abstract tidy(parts: P): Promise<void>
  /** Waits for what was accepted, then closes. */
  protected abstract closeParts(parts: P): Promise<void>
  abstract ping(): Promise<void>
  abstract strays(): AsyncIterable<string>
  /** See CopyableStore.backup. */
  protected abstract backupOf(parts: P, file: string, beside?: Beside): Promise<number>

  async open(): Promise<void> {
    const parts = await this.openParts()
    try {
      await this.#begin(parts)
    } catch (thrown) {
      await this.closeParts(parts)
      throw thrown
    }
    this.#parts = parts
    this.#closing = undefined
    if (this.upgrades) this.#upgrade = new Upgrade(parts.format)
    await this.tidy(parts)
  }

  /** What an older program could not read comes behind a backup that it can. */
  async #begin(parts: P): Promise<void> {
    if (this.upgrades === false) return
    const from = await parts.format.old()
    const { backupDir: dir, onBegin, onBackUp } = this.upgrades === true ? {} : this.upgrades
    if (from !== undefined) {
      const place = dir && { dir, format: from, ending: this.backupEnding, onBackUp }
      const backup = place && (await backUpFirst(place, file => this.backupOf(parts, file)))
      onBegin?.({ from, to: DATA_FORMAT, backup: backup || undefined })
    }
    await parts.format.begin()
  }

  /** See CopyableStore. */
  async backup(file: string, beside?: Beside): Promise<number> {
    return this.backupOf(this.parts, file, beside)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const parts = this.#parts
    this.#parts = undefined
    await this.#upgrade?.stop()
    if (parts !== undefined) await this.closeParts(parts)
  }

  /** Resolves when the upgrade of older data has ended. */
  async upgraded(): Promise<void> {
    await this.#upgrade?.done()
  }

  get users(): Users {
    return this.parts.users
  }

  get inbox(): InboxLog {
    return this.parts.inbox
  }

  get cursors(): CursorStore {
    return this.parts.cursors
  }

  get kv(): KeyValue {
    return this.parts.kv
  }

  get shared(): SharedRecords {
    return this.parts.shared
  }

  contents(): Contents {
    return this.parts.contents
  }

  /** @throws GatewayError STORE_UNAVAILABLE if the store is not open */
  protected get parts(): P {
    if (this.#parts === undefined)
      throw new GatewayError('STORE_UNAVAILABLE', { reason: 'the store is not open' })
    return this.#parts
  }
}
