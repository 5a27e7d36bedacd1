/** Uploads that are under way: which they are, and that what is removed meanwhile is not written on. */
import { GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { ownerOf } from './ids.js'

export const noFile = () => new GatewayError('NO_FILE', { field: 'file', reason: 'no such file' })

export class Uploads {
  /** Whether the file was removed meanwhile, by id. */
  readonly #isGone = new Map<string, boolean>()

  has(id: string): boolean {
    return this.#isGone.has(id)
  }

  begin(id: string): void {
    this.#isGone.set(id, false)
  }

  end(id: string): void {
    this.#isGone.delete(id)
  }

  /** The file is removed. */
  stop(id: string): void {
    if (this.#isGone.has(id)) this.#isGone.set(id, true)
  }

  /** All files of an account are removed. */
  stopAll(owner: UserId): void {
    for (const id of this.#isGone.keys()) if (ownerOf(id) === owner) this.stop(id)
  }

  /** @throws GatewayError NO_FILE if the file was removed since `begin` */
  check(id: string): void {
    if (this.#isGone.get(id) === true) throw noFile()
  }

  /** What comes, as long as the file is there. */
  async *watch(id: string, body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of body) {
      this.check(id)
      yield piece
    }
  }
}
