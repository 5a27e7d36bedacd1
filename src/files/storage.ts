/** Where the bytes of files are kept. Which files there are, and whose, is in the store (rows.ts). */
import type { Readable } from 'node:stream'
import type { UserId } from '../core/model.js'

/** Both ends are part of it. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** Every method rejects with a GatewayError: STORE_UNAVAILABLE or STORE_FULL. */
export interface Storage {
  /**
   * Takes over a whole file from the local disk. When it resolves, the bytes are kept as safely as this storage can; when it
   * rejects, nothing of them is.
   * @param path is gone afterwards, or may be removed
   */
  put(id: string, path: string, size: number): Promise<void>
  /**
   * @param size of the whole file, as its row says; undefined: whatever it is
   * @throws also STORE_UNAVAILABLE if it is not there, or of another size: a row says that it is
   */
  read(id: string, range: ByteRange, size?: number): Promise<Readable>
  /** @returns undefined if it is not there */
  sizeOf(id: string): Promise<number | undefined>
  /** Resolves also where there is none. */
  remove(id: string): Promise<void>
  /** All files of an account. */
  removeAll(owner: UserId): Promise<void>
  /** Accounts that have any, also such as are deleted by now. */
  owners(): AsyncIterable<UserId>
  /** Ids of the files that are kept of an account. */
  list(owner: UserId): AsyncIterable<string>
}
