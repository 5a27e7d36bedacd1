/** What is in a store, as entries that another store takes: for `mumi copy`. The broker's state goes by kvRange and kvWrite. */
import type { InboxRow, UserId } from '../core/model.js'
import type { CursorMove, NewUser, SharedCollection, SharedRecord, Store } from './store.js'

export interface WholeUser extends NewUser {
  /** See Users.findFactor. */
  readonly factor?: string
}

export type Entries = {
  /** `ordinal` is the place in the order of registration; no user: deleted, and the id stays taken. */
  readonly accounts: { readonly id: UserId; readonly ordinal: number; readonly user: WholeUser | undefined }
  readonly rows: InboxRow & {
    readonly inbox: UserId
    /** Bytes of text that the inbox was ever given up to here; 0 in rows from before they were counted. */
    readonly end: number
  }
  readonly devices: CursorMove
  /** Highest seq removed by a limit. */
  readonly trimmed: { readonly userId: UserId; readonly seq: number }
  /** Highest seq confirmed by any device. */
  readonly furthest: { readonly userId: UserId; readonly seq: number }
} & {
  /** See SharedRecords. */
  readonly [C in SharedCollection]: SharedRecord
}

export type Section = keyof Entries

/** In the order in which they are copied. */
export const SECTIONS: readonly Section[] = [
  'accounts',
  'trimmed',
  'rows',
  'furthest',
  'devices',
  'names',
  'images',
]

export interface Page<S extends Section> {
  readonly entries: readonly Entries[S][]
  /** Where the next page begins, in words of this store; undefined behind the last one. */
  readonly next: string | undefined
}

export interface Contents {
  /** @throws GatewayError */
  read<S extends Section>(section: S, from: string | undefined): Promise<Page<S>>
  /** Replaces what is there with the same key, so it may be done twice. @throws GatewayError */
  write<S extends Section>(section: S, entries: readonly Entries[S][]): Promise<void>
}

/**
 * Adds to a backup when its file is whole and before it has its name.
 * @param folder not there yet; what is made becomes the folder `besideOf` the file
 */
export type Beside = (folder: string) => Promise<void>

/** The folder that belongs to a backup. */
export const besideOf = (file: string): string => `${file}.files`

export interface CopyableStore extends Store {
  /** What indexes have, and no account or row does, a line each; after deletions that a stop interrupted are finished. */
  strays(): AsyncIterable<string>
  /** @throws GatewayError STORE_UNAVAILABLE if the store is not open */
  contents(): Contents
  /**
   * Writes a copy into one file while the store is used. It has all that was acknowledged before the call.
   * @param beside see Beside
   * @returns its bytes
   * @throws GatewayError BAD_FIELD {field: 'file'} if it is there already or cannot be made, FORBIDDEN if the store has no such
   *   copies, STORE_UNAVAILABLE, STORE_FULL
   */
  backup(file: string, beside?: Beside): Promise<number>
  /** How its file is used, bytes; undefined if it is not open, or has no such file. */
  readonly space?: { readonly freeBytes: number; readonly mapBytes: number } | undefined
}

/** Entries in one page, and characters of rows in it. */
export const PAGE = 500
export const PAGE_CHARS = 4_000_000
