/** Writes everything that is stored of one person, as lines of JSON: `mumi export`. */
import { once } from 'node:events'
import { createWriteStream, existsSync, rmSync } from 'node:fs'
import { finished } from 'node:stream/promises'
import type { ExportFiles } from '../../app/export-files.js'
import type { Config } from '../../config/config.js'
import { Asking, CommandError } from './ask.js'
import { jsonLine } from './print.js'

interface Part {
  readonly entries: readonly object[]
  readonly next?: string
}

/** A line each. @param tell called with how many so far */
async function* linesOf(
  config: Config,
  user: string,
  files: ExportFiles | undefined,
  tell: (count: number) => void,
): AsyncGenerator<string> {
  const asking = new Asking(config)
  try {
    let count = 0
    let from: string | undefined
    do {
      const asked = { name: 'user.export', data: { user, from }, idle: 'open' } as const
      const part = (await asking.ask(asked)) as Part
      for (const entry of part.entries) yield jsonLine((await files?.with(entry)) ?? entry)
      count += part.entries.length
      tell(count)
      from = part.next
    } while (from !== undefined)
    // Without this line the rest is missing.
    yield jsonLine({ section: 'end', entries: count })
  } finally {
    await asking.close()
  }
}

export interface ExportTo {
  readonly user: string
  /** A file that is not there yet, for its owner alone; undefined: stdout. */
  readonly file: string | undefined
}

/**
 * The bytes of files go into a folder beside `file`.
 * @throws CommandError, and then there is no file, unless only bytes of files are missing
 */
export async function exportPerson(config: Config, { user, file }: ExportTo): Promise<void> {
  const { stdout, stderr } = process
  const tell = (count: number) => void (stderr.isTTY && stderr.write(`\r${count} entries `))
  const folder = file === undefined ? undefined : `${file}.files`
  if (folder !== undefined && existsSync(folder)) throw new CommandError(`${folder} is there already`)
  const { ExportFiles } = await import('../../app/export-files.js')
  const files = folder === undefined ? undefined : new ExportFiles(config, folder)
  const output = file === undefined ? stdout : createWriteStream(file, { flags: 'wx', mode: 0o600 })
  // Before anything is asked, since the name may be wrong.
  if (file !== undefined)
    await once(output, 'open').catch((thrown: Error) => {
      throw new CommandError(thrown.message)
    })
  try {
    for await (const line of linesOf(config, user, files, tell))
      if (!output.write(line)) await once(output, 'drain')
    if (file !== undefined) await finished(output.end())
  } catch (thrown) {
    for (const made of [file, folder]) if (made !== undefined) rmSync(made, { recursive: true, force: true })
    throw thrown
  } finally {
    if (stderr.isTTY) stderr.write('\n')
  }
  if (files !== undefined && files.faults > 0)
    throw new CommandError(`${files.faults} files are missing or damaged; all else is exported`)
}
