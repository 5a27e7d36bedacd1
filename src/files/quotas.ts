/** How much an account may have, and send a day. What is announced counts as there, so that no upload is cut off once it has begun. */
import { GatewayError, RefusedUntil } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { KeyedSerial } from '../flow/serial.js'
import { type FileRows, secondsOfToday } from './rows.js'

export interface QuotaLimits {
  /** Of one account. */
  readonly quotaBytes: number
  /** That arrive from one account, those of uploads that failed included. */
  readonly bytesPerDay: number
  readonly maxFiles: number
  /** Files of one account that are announced and not whole yet. */
  readonly maxOpen: number
  /** Of all accounts. */
  readonly totalBytes: number
}

const over = (reason: string) => new GatewayError('FILES_FULL', { field: 'size', reason })

export class Quotas {
  /** Sums of one account, one after the other. */
  readonly #turns = new KeyedSerial()

  constructor(
    private readonly rows: FileRows,
    private readonly limits: QuotaLimits,
  ) {}

  /** Whether a file of this size may be announced. @throws GatewayError FILES_FULL, STORE_FULL */
  async check(owner: UserId, size: number): Promise<void> {
    const { quotaBytes, bytesPerDay, maxFiles, maxOpen, totalBytes } = this.limits
    const { files, bytes, open, openBytes } = await this.rows.usage(owner)
    if (open >= maxOpen) throw over(`${maxOpen} files are not uploaded yet`)
    if (files >= maxFiles) throw over(`the account has ${maxFiles} files`)
    if (bytes + size > quotaBytes) throw over(`the files of the account may have ${quotaBytes} bytes`)
    // What is announced and still to come will be of today.
    if ((await this.rows.uploadedToday(owner)) + openBytes + size > bytesPerDay) throw this.#overDay()
    if ((await this.rows.totals.now()).bytes + size > totalBytes) throw new GatewayError('STORE_FULL')
  }

  /**
   * Counts what comes of an upload, whether or not it ends well: nobody sends the same file again and again for nothing.
   * @throws GatewayError FILES_FULL before anything is read
   */
  async *count(owner: UserId, body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    if ((await this.rows.uploadedToday(owner)) >= this.limits.bytesPerDay) throw this.#overDay()
    let bytes = 0
    try {
      for await (const piece of body) {
        bytes += piece.length
        yield piece
      }
    } finally {
      if (bytes > 0) await this.#turns.run(owner, () => this.rows.addToday(owner, bytes))
    }
  }

  #overDay(): GatewayError {
    const reason = `the account may upload ${this.limits.bytesPerDay} bytes a day`
    return new RefusedUntil('FILES_FULL', { field: 'size', reason }, secondsOfToday())
  }
}
