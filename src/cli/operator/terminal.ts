import type { Asked } from './ask.js'
import type { ExportTo } from './export.js'

/** What is taken of the old server. */
export interface OldServer {
  /** Its database, or its app.ini, which says where that is. */
  readonly file: string
  readonly isDry: boolean
}

/** What a command is given besides its words. */
export interface Terminal {
  /** Makes the request; prints `data` of its reply as JSON with `--json`, else what `show` makes of it. @throws CommandError if files are missing in a backup, behind what is printed */
  run(asked: Asked, show: (data: never) => string): Promise<void>
  /** Makes the store of the config of a backup. @param show as for `run` */
  restore(file: string, show: (data: never) => string): Promise<void>
  /** Reads the store of the config. @throws CommandError if it has a fault, behind what is printed */
  verify(show: (data: never) => string): Promise<void>
  /** Takes the accounts of the old server. @param show as for `run` @throws CommandError if it cannot take all */
  takeOver(from: OldServer, show: (data: never) => string): Promise<void>
  /** Makes the file of the store of the config small. */
  compact(show: (data: never) => string): Promise<void>
  /** Writes what is stored of a person. @throws CommandError */
  exportPerson(to: ExportTo): Promise<void>
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly stdout: NodeJS.WritableStream
}
