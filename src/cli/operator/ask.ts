/** Makes a request of the operator: of the gateway that runs, by its admin socket; if none does, on its store. */
import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { socketPath } from '../../app/admin-socket.js'
import type { Config } from '../../config/config.js'
import { EXIT_FAILURE, EXIT_NOT_RUNNING } from '../exit-codes.js'
import { safe } from './print.js'

export interface Reply {
  readonly code: number
  readonly msg: string
  readonly data: unknown
}

/** What is printed for the operator, and the exit code. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  constructor(
    message: string,
    readonly exitCode: number = EXIT_FAILURE,
  ) {
    super(message)
  }
}

export interface Asked {
  /** See protocol/admin.ts. */
  readonly name: string
  readonly data: object
  /** What is done where no gateway runs: nothing, or the request on its store, which is made for `make`. */
  readonly idle: 'never' | 'open' | 'make'
}

/** System errors of a socket that nobody listens at. */
const NOBODY: ReadonlySet<unknown> = new Set(['ENOENT', 'ECONNREFUSED'])

/** @returns `data` of the reply @throws CommandError for a refusal, or if no gateway runs and one is needed */
export async function ask(config: Config, asked: Asked): Promise<unknown> {
  const body = JSON.stringify(asked.data)
  const reply = (await askGateway(config, asked.name, body)) ?? (await askStore(config, asked, body))
  if (reply.code !== 200) throw new CommandError(wordsOf(reply))
  return reply.data
}

function wordsOf({ code, msg, data }: Reply): string {
  const { field, reason }: { field?: string; reason?: string } = data ?? {}
  return `${safe([msg, field, reason].filter(part => part !== undefined).join(': '))} (${code})`
}

/** @returns undefined if no gateway runs */
async function askGateway({ data }: Config, name: string, body: string): Promise<Reply | undefined> {
  const path = socketPath(data.dir)
  try {
    return JSON.parse(await post(path, `/v1/${name}`, body))
  } catch (thrown) {
    const { code }: NodeJS.ErrnoException = thrown instanceof Error ? thrown : ({} as Error)
    if (NOBODY.has(code)) return undefined
    if (code === 'EACCES')
      throw new CommandError(`${path}: no right to open it: only the user that the gateway runs as may`)
    throw thrown
  }
}

function post(socketPath: string, path: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }
    request({ socketPath, path, method: 'POST', headers }, response => text(response).then(resolve, reject))
      .on('error', reject)
      .end(body)
  })
}

async function askStore(config: Config, { name, idle }: Asked, body: string): Promise<Reply> {
  if (idle === 'never')
    throw new CommandError(`no gateway runs on ${config.data.dir} (data.dir)`, EXIT_NOT_RUNNING)
  const { askIdle } = await import('../../app/idle.js')
  return askIdle(config, { name, body, mayMake: idle === 'make' })
}
