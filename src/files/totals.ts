/** Bytes of the files of all accounts. */

interface Counted {
  readonly size: number
  readonly state: 'open' | 'stored'
}

export interface TotalBytes {
  readonly bytes: number
  /** Of those, what is announced and not uploaded yet. */
  readonly open: number
}

export class Totals {
  /** Counted once and then kept up. */
  #counted: Promise<TotalBytes> | undefined

  constructor(private readonly files: () => AsyncIterable<Counted>) {}

  now(): Promise<TotalBytes> {
    this.#counted ??= this.#count().catch(thrown => {
      this.#counted = undefined
      throw thrown
    })
    return this.#counted
  }

  change(bytes: number, open: number): void {
    this.#counted = this.#counted?.then(totals => ({
      bytes: totals.bytes + bytes,
      open: totals.open + open,
    }))
  }

  /** They are counted anew when somebody asks. */
  forget(): void {
    this.#counted = undefined
  }

  async #count(): Promise<TotalBytes> {
    const totals = { bytes: 0, open: 0 }
    for await (const { size, state } of this.files()) {
      totals.bytes += size
      if (state === 'open') totals.open += size
    }
    return totals
  }
}
