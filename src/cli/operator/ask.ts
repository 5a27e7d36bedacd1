/** Makes a request of the operator: of the gateway that runs, by its admin socket; if none does, on its store. */
import {
  type ClientRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestOptions,
  request,
} from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { socketFault, socketPath } from '../../app/admin-socket.js'
import type { IdleStore } from '../../app/idle.js'
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
  /** Takes as long as the store is large: the gateway only says in time that it is at it. */
  readonly isLong?: boolean
  /** Then it is waited so many seconds for the end of the process that the reply names. */
  readonly waitSeconds?: number | undefined
}

/** A gateway that is stopped (SIGSTOP) takes connections, and never answers. */
export const ANSWER_MS = 30_000

/** System errors of a socket that nobody listens at. */
const NOBODY: ReadonlySet<unknown> = new Set(['ENOENT', 'ECONNREFUSED'])

/**
 * @param answerMs see ANSWER_MS
 * @returns `data` of the reply
 * @throws CommandError for a refusal, if no answer comes, or if no gateway runs and one is needed
 */
export async function ask(config: Config, asked: Asked, answerMs = ANSWER_MS): Promise<unknown> {
  const asking = new Asking(config, answerMs)
  try {
    return await asking.ask(asked)
  } finally {
    await asking.close()
  }
}

/** Requests one after the other. The store of a gateway that does not run stays open until `close`. */
export class Asking {
  #idle: IdleStore | undefined

  constructor(
    private readonly config: Config,
    private readonly answerMs = ANSWER_MS,
  ) {}

  /** As `ask`. */
  async ask(asked: Asked): Promise<unknown> {
    const reply =
      (this.#idle === undefined && (await askGateway(this.config, asked, this.answerMs))) ||
      (await this.#askStore(asked))
    return dataOf(reply)
  }

  async close(): Promise<void> {
    await this.#idle?.close()
  }

  async #askStore({ name, data, idle }: Asked): Promise<Reply> {
    const { config } = this
    if (idle === 'never')
      throw new CommandError(`no gateway runs on ${config.data.dir} (data.dir)`, EXIT_NOT_RUNNING)
    if (this.#idle === undefined) {
      const { openIdle } = await import('../../app/idle.js')
      this.#idle = await openIdle(config, idle === 'make')
    }
    return this.#idle.ask(name, JSON.stringify(data))
  }
}

/** @throws CommandError for a refusal */
export function dataOf(reply: Reply): unknown {
  if (reply.code !== 200) throw new CommandError(wordsOf(reply))
  return reply.data
}

function wordsOf({ code, msg, data }: Reply): string {
  const { field, reason }: { field?: string; reason?: string } = data ?? {}
  return `${safe([msg, field, reason].filter(part => part !== undefined).join(': '))} (${code})`
}

/** @returns undefined if no gateway runs */
async function askGateway(
  { data }: Config,
  { name, data: asked, isLong = false }: Asked,
  answerMs: number,
): Promise<Reply | undefined> {
  const path = socketPath(data.dir)
  try {
    const fault = socketFault(path)
    if (fault !== undefined) throw new CommandError(fault)
    // What this process has given up is not begun any more.
    const headers = { 'Mumi-Deadline': String(Date.now() + answerMs) }
    const to = { socketPath: path, path: `/v1/${name}` }
    const open: Parameters<typeof post>[0] = (options, onAnswer) => request({ ...options, ...to }, onAnswer)
    return await post(open, { place: path, headers, data: asked, isLong, answerMs })
  } catch (thrown) {
    const { code }: NodeJS.ErrnoException = thrown instanceof Error ? thrown : ({} as Error)
    if (NOBODY.has(code)) return undefined
    if (code === 'ECONNRESET')
      throw new CommandError(`${path}: the gateway ended before it had answered; what had begun may be done`)
    if (code === 'EACCES')
      throw new CommandError(`${path}: no right to open it: only the user that the gateway runs as may`)
    throw thrown
  }
}

/** @throws CommandError where something else than a gateway answers */
function asReply(text: string, place: string): Reply {
  let reply: Partial<Reply> | null | undefined
  try {
    reply = JSON.parse(text)
  } catch {
    // as if nothing had come
  }
  const { code, msg } = reply ?? {}
  if (typeof code !== 'number' || typeof msg !== 'string')
    throw new CommandError(`${place}: is not the admin address of a gateway`)
  return reply as Reply
}

export interface Post {
  /** Of whom messages say that they do not answer. */
  readonly place: string
  readonly headers?: OutgoingHttpHeaders
  readonly data: object
  /** See Asked. */
  readonly isLong: boolean
  readonly answerMs: number
}

/**
 * @param open begins the request with these options
 * @throws CommandError if no answer comes, or that of something else than a gateway; the system's error
 */
export async function post(
  open: (options: RequestOptions, onAnswer: (answer: IncomingMessage) => void) => ClientRequest,
  { place, headers, data, isLong, answerMs }: Post,
): Promise<Reply> {
  const body = JSON.stringify(data)
  const answer = await new Promise<string>((resolve, reject) => {
    const all = {
      ...headers,
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
      // Node answers 100 at once, before the request is done.
      ...(isLong && { Expect: '100-continue' }),
    }
    const asking = open({ method: 'POST', headers: all }, answer => text(answer).then(resolve, reject))
    const late = setTimeout(() => {
      reject(
        new CommandError(`${place}: no answer for ${answerMs / 1000} s; what had begun may still be done`),
      )
      asking.destroy()
    }, answerMs)
    asking
      .on('error', reject)
      .on('close', () => clearTimeout(late))
      .on('continue', () => clearTimeout(late))
      .end(body)
  })
  return asReply(answer, place)
}

const LOOK_MS = 100

/** Waits for the end of the gateway's process. @throws CommandError if it runs after so many seconds */
export async function ended(pid: number, seconds: number): Promise<void> {
  const until = performance.now() + seconds * 1000
  while (isRunning(pid)) {
    if (performance.now() >= until) throw new CommandError(`it runs after ${seconds} s (process ${pid})`)
    await delay(LOOK_MS)
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    // EPERM: it is another user's.
    return (thrown as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}
