/** The store that needs nothing installed: LMDB in one folder, for one process. */
import { BaseStore } from '../base.js'
import type { Beside } from '../contents.js'
import type { UpgradeOptions } from '../upgrade.js'
import { makeBackup } from './backup.js'
import type { Durability, StoreTimes } from './commits.js'
import { type Compacted, compactFile, removeParts } from './compact.js'
import { EmbeddedEnv } from './env.js'
import type { FileCheck } from './file.js'
import { type EmbeddedParts, makeParts } from './parts.js'

export interface EmbeddedOptions {
  /** The data folder; made if it is not there. One process at a time. */
  readonly dir: string
  /** `commit`: what is acknowledged survives the death of the process. `flush`: of the machine. */
  readonly durability: Durability
  /** How long a dedupKey is remembered, ms. */
  readonly dedupWindowMs: number
  /** What is checked of the file before it is opened. Default: what a gateway checks at its start. */
  readonly check?: FileCheck
  /** false: data of an older format is left as it is, to look at it or to copy it. Default: true. */
  readonly upgrade?: UpgradeOptions | boolean
  readonly times?: StoreTimes | undefined
}

const DEFAULT_CHECK: FileCheck = { pages: 'unclean', timeoutMs: 30_000 }

export class EmbeddedStore extends BaseStore<EmbeddedParts> {
  protected readonly backupEnding = 'mdb'
  readonly #env: EmbeddedEnv
  readonly #options: EmbeddedOptions

  constructor(options: EmbeddedOptions) {
    super(options.upgrade)
    this.#options = options
    this.#env = new EmbeddedEnv({ check: DEFAULT_CHECK, ...options })
  }

  protected async openParts(): Promise<EmbeddedParts> {
    const parts = await this.#env.open(table => makeParts(this.#env, table, this.#options))
    try {
      removeParts(this.#options.dir)
      await parts.inbox.recover()
      return parts
    } catch (thrown) {
      await this.closeParts(parts)
      throw thrown
    }
  }

  protected async tidy({ users }: EmbeddedParts): Promise<void> {
    await users.indexNames()
    await users.finishDeletions()
  }

  protected async closeParts({ inbox }: EmbeddedParts): Promise<void> {
    await inbox.close()
    await this.#env.close()
  }

  /** Makes a commit, and a range, which takes a place among LMDB's readers. */
  async ping(): Promise<void> {
    await this.#env.ping()
    await this.users.findUsers({}, 1)
  }

  /** What the journal has goes to LMDB first, so that the copy has all that was acknowledged before. */
  protected async backupOf({ inbox }: EmbeddedParts, file: string, beside?: Beside): Promise<number> {
    await inbox.stored()
    return makeBackup(file, folder => this.#env.copyTo(folder), beside)
  }

  /** Makes its file small. Nothing may be written any more: close it afterwards. @throws GatewayError; nothing is changed then */
  async compact(): Promise<Compacted> {
    const { users, inbox } = this.parts
    await users.deletionsFinished()
    await inbox.stored()
    return compactFile(this.#options.dir, folder => this.#env.copyTo(folder))
  }

  /** How the pages of its file are used; undefined if the store is not open. */
  get space(): { readonly freeBytes: number; readonly mapBytes: number } | undefined {
    try {
      return this.#env.space
    } catch {
      return undefined
    }
  }

  async *strays(): AsyncGenerator<string> {
    const { users, inbox, strays } = this.parts
    await users.deletionsFinished()
    await inbox.stored()
    yield* strays.all()
  }

  /** Whether rows of an older data format may be left. */
  get isOldFormat(): boolean {
    return this.parts.format.isOld
  }
}
