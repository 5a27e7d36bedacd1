/** Writes everything that is stored of one person, as lines of JSON: `mumi export`. */
import { once } from 'node:events'
import { createWriteStream, rmSync } from 'node:fs'
import { finished } from 'node:stream/promises'
import type { Config } from '../../config/config.js'
import { Asking, CommandError } from './ask.js'
import { jsonLine } from './print.js'

interface Part {
  readonly entries: readonly object[]
  readonly next?: string
}

/** A line each. @param tell called with how many so far */
async function* linesOf(config: Config, user: string, tell: (count: number) => void): AsyncGenerator<string> {
  const asking = new Asking(config)
  try {
    let count = 0
    let from: string | undefined
    do {
      const asked = { name: 'user.export', data: { user, from }, idle: 'open' } as const
      const part = (await asking.ask(asked)) as Part
      for (const entry of part.entries) yield jsonLine(entry)
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

/** @throws CommandError, and then there is no file */
export async function exportPerson(config: Config, { user, file }: ExportTo): Promise<void> {
  const { stdout, stderr } = process
  const tell = (count: number) => void (stderr.isTTY && stderr.write(`\r${count} entries `))
  const output = file === undefined ? stdout : createWriteStream(file, { flags: 'wx', mode: 0o600 })
  // Before anything is asked, since the name may be wrong.
  if (file !== undefined)
    await once(output, 'open').catch((thrown: Error) => {
      throw new CommandError(thrown.message)
    })
  try {
    for await (const line of linesOf(config, user, tell)) if (!output.write(line)) await once(output, 'drain')
    if (file !== undefined) await finished(output.end())
  } catch (thrown) {
    if (file !== undefined) rmSync(file, { force: true })
    throw thrown
  } finally {
    if (stderr.isTTY) stderr.write('\n')
  }
}
