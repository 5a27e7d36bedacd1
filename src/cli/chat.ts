import { parseArgs } from 'node:util'
import { idOf, chat as run } from '../chat/chat.js'
import { Screen } from '../chat/screen.js'
import type { ConfigSources } from '../config/config.js'
import { EXIT_FAILURE, EXIT_USAGE } from './exit-codes.js'
import { safeLines } from './operator/print.js'

const USAGE = `Usage: mumi chat [--server URL] EMAIL [NAME]
       mumi chat [--server URL] --id EMAIL
`

export interface ChatArguments {
  readonly server: URL
  readonly email: string
  readonly partner: string | undefined
  readonly onlyId: boolean
}

/** @returns undefined if the command line is none of `chat` */
export function chatArguments(argv: readonly string[], env: ConfigSources['env']): ChatArguments | undefined {
  const options = { server: { type: 'string' }, id: { type: 'boolean' } } as const
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true })
    const [email, partner, more] = positionals
    if (email === undefined || more !== undefined || (values.id && partner !== undefined)) return undefined
    const server = serverUrl(values.server ?? env.CHAT_URL ?? 'ws://127.0.0.1:8080/')
    return { server, email, partner, onlyId: values.id ?? false }
  } catch {
    return undefined
  }
}

/** Takes the address as it is in a browser, too, and without a scheme. */
function serverUrl(text: string): URL {
  const url = new URL(/^\w+:\/\//.test(text) ? text.replace(/^http/, 'ws') : `ws://${text}`)
  if (!/^wss?:$/.test(url.protocol)) throw new Error(`no WebSocket address: ${text}`)
  // `msg` in refusals is Chinese otherwise.
  if (!url.searchParams.has('lang')) url.searchParams.set('lang', 'en')
  return url
}

/** The command `chat`. */
export async function chat({ argv, env }: ConfigSources): Promise<void> {
  const asked = chatArguments(argv, env)
  if (asked === undefined) {
    process.stderr.write(USAGE)
    process.exitCode = EXIT_USAGE
    return
  }
  const { server, email, partner, onlyId } = asked
  try {
    if (onlyId) process.stdout.write(`${await idOf(server, email)}\n`)
    else if (!(await talk(server, email, partner))) process.exitCode = EXIT_FAILURE
  } catch (error) {
    process.stderr.write(`mumi: ${server.origin}: ${safeLines(reason(error))}\n`)
    process.exitCode = EXIT_FAILURE
  }
}

async function talk(url: URL, email: string, partner: string | undefined): Promise<boolean> {
  const { stdin, stdout, stderr } = process
  // With stdout in a file, the prompt is still seen.
  const screen = new Screen({ input: stdin, output: stdout, echo: stdout.isTTY ? stdout : stderr })
  try {
    return await run({ url, email, partner, screen })
  } finally {
    screen.close()
    // A pipe that is still open would keep the process.
    stdin.unref?.()
  }
}

function reason(error: unknown): string {
  const { code, message }: NodeJS.ErrnoException = error instanceof Error ? error : new Error(String(error))
  if (code === 'ECONNREFUSED') return 'nothing answers there. Is the gateway running? npm start starts it'
  return message || code || 'failed'
}
