import type { Asked } from './ask.js'

/** What a command is given besides its words. */
export interface Terminal {
  /** Makes the request; prints `data` of its reply as JSON with `--json`, else what `show` makes of it. */
  run(asked: Asked, show: (data: never) => string): Promise<void>
  /** Makes the store of the config of a backup. @param show as for `run` */
  restore(file: string, show: (data: never) => string): Promise<void>
  /** Reads the store of the config. @throws CommandError if it has a fault, behind what is printed */
  verify(show: (data: never) => string): Promise<void>
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly stdout: NodeJS.WritableStream
}
