/** Reads the accounts of the old MumiChat server, and has the gateway, or its store, take them. */
import { existsSync } from 'node:fs'
import { hasStore } from '../../app/stores.js'
import type { Config } from '../../config/config.js'
import { databasesOf, IniError } from '../../config/old-server.js'
import { type OldRow, type Refused, readOldAccounts, reasonOf } from '../../import/mumichat.js'
import { SourceError } from '../../import/sqlite.js'
import { Asking, CommandError } from './ask.js'
import type { OldServer } from './terminal.js'

export interface TakeReport {
  /** The database. */
  readonly file: string
  readonly dryRun: boolean
  /** Accounts that were made, or would be. */
  readonly taken: number
  /** Accounts with this id and email were there before. */
  readonly there: number
  /** Accounts taken that nobody can log in to: the old server had none for them either. */
  readonly withoutPassword: readonly Omit<Refused, 'reason'>[]
  readonly refused: readonly Refused[]
}

type OnTaken = (done: number, of: number) => void

/** Accounts in a request: what the slowest hashes take a minute for. */
const BATCH = 20

interface Outcome {
  readonly outcome: 'taken' | 'there' | 'refused'
  readonly field?: string
  readonly reason?: string
}

/** @param onTaken told how many of how many were asked for @throws CommandError if the file cannot be read, or if a request is refused as a whole: run again, it goes on there */
export async function takeAccounts(
  config: Config,
  { file, isDry }: OldServer,
  onTaken: OnTaken,
): Promise<TakeReport> {
  const { path, rows, refused } = await readOld(file).catch(explain)
  // Where there is no store yet, nothing is taken already; a dry run makes none.
  const outcomes =
    isDry && !hasStore(config) ? rows.map(() => NEW) : await askForAll(config, rows, isDry, onTaken)
  const of = (outcome: Outcome['outcome']) => rows.filter((_, at) => outcomes[at]?.outcome === outcome)
  for (const [at, { row, account }] of rows.entries()) {
    const one = outcomes[at]
    if (one?.outcome === 'refused') refused.push({ ...nameOf({ row, account }), reason: reasonOf(one) })
  }
  return {
    file: path,
    dryRun: isDry,
    taken: of('taken').length,
    there: of('there').length,
    withoutPassword: of('taken')
      .filter(({ account }) => account.passwordHash === '')
      .map(nameOf),
    refused: refused.sort((a, b) => a.row - b.row),
  }
}

async function readOld(file: string) {
  const path = databaseOf(file)
  return { path, ...(await readOldAccounts(path)) }
}

/** @throws CommandError if an app.ini does not lead to exactly one file */
function databaseOf(file: string): string {
  const places = databasesOf(file)
  if (places === undefined) return file
  const found = places.filter(place => existsSync(place))
  const [one, another] = found
  const how = 'name the database itself: mumi import mumichat FILE.db'
  if (one === undefined)
    throw new CommandError(
      `${file}: PATH and NAME of [database] are ${places.join(' or ')}, and there is no such file; ${how}`,
    )
  if (another !== undefined) throw new CommandError(`${file}: may mean ${found.join(' or ')}; ${how}`)
  return one
}

const NEW: Outcome = { outcome: 'taken' }

const nameOf = ({ row, account: { id, email } }: OldRow) => ({ row, id, email })

async function askForAll(
  config: Config,
  rows: readonly OldRow[],
  dryRun: boolean,
  onTaken: OnTaken,
): Promise<Outcome[]> {
  const asking = new Asking(config)
  const outcomes: Outcome[] = []
  try {
    for (let at = 0; at < rows.length; at += BATCH) {
      const users = rows.slice(at, at + BATCH).map(({ account }) => account)
      const data = { users, ...(dryRun && { dryRun }) }
      const reply = await asking.ask({ name: 'user.import', data, idle: 'make', isLong: true })
      outcomes.push(...(reply as { outcomes: Outcome[] }).outcomes)
      onTaken(outcomes.length, rows.length)
    }
    return outcomes
  } finally {
    await asking.close()
  }
}

function explain(thrown: unknown): never {
  const { syscall, message }: NodeJS.ErrnoException =
    thrown instanceof Error ? thrown : new Error(String(thrown))
  const isExpected = thrown instanceof SourceError || thrown instanceof IniError || syscall !== undefined
  throw isExpected ? new CommandError(message) : thrown
}
