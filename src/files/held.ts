/**
 * A storage that removes nothing for a while: for a backup, which has rows first and their bytes then. Rows go as ever meanwhile, so
 * nobody gets what is removed; its bytes go afterwards, and what a kill leaves of it is swept.
 */
import type { Readable } from 'node:stream'
import type { UserId } from '../core/model.js'
import type { ByteRange, Storage } from './storage.js'

export class HeldStorage implements Storage {
  #holds = 0
  readonly #files = new Set<string>()
  readonly #owners = new Set<UserId>()

  constructor(private readonly storage: Storage) {}

  put(id: string, path: string, size: number): Promise<void> {
    return this.storage.put(id, path, size)
  }

  read(id: string, range: ByteRange, size?: number): Promise<Readable> {
    return this.storage.read(id, range, size)
  }

  sizeOf(id: string): Promise<number | undefined> {
    return this.storage.sizeOf(id)
  }

  async remove(id: string): Promise<void> {
    if (this.#holds > 0) this.#files.add(id)
    else await this.storage.remove(id)
  }

  async removeAll(owner: UserId): Promise<void> {
    if (this.#holds > 0) this.#owners.add(owner)
    else await this.storage.removeAll(owner)
  }

  owners(): AsyncIterable<UserId> {
    return this.storage.owners()
  }

  list(owner: UserId): AsyncIterable<string> {
    return this.storage.list(owner)
  }

  /** What is removed until `work` ends stays until then. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    this.#holds++
    try {
      return await work()
    } finally {
      this.#holds--
      // What fails is left to the sweep.
      if (this.#holds === 0) await this.#removeHeld().catch(() => undefined)
    }
  }

  /** What was removed since `hold` began and is still there. */
  async *removed(): AsyncGenerator<string> {
    yield* this.#files
    for (const owner of this.#owners) yield* this.storage.list(owner)
  }

  async #removeHeld(): Promise<void> {
    const [files, owners] = [[...this.#files], [...this.#owners]]
    this.#files.clear()
    this.#owners.clear()
    for (const id of files) await this.remove(id)
    for (const owner of owners) await this.removeAll(owner)
  }
}
