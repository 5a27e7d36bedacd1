/** Makes a request of the operator to a gateway of another machine, with a token. */
import { readFileSync, statSync } from 'node:fs'
import { request as plainRequest } from 'node:http'
import { request } from 'node:https'
import { EXIT_NOT_RUNNING, EXIT_USAGE } from '../exit-codes.js'
import type { Remote } from './arguments.js'
import { ANSWER_MS, type Asked, CommandError, dataOf, post } from './ask.js'
import { safe } from './print.js'

/** System errors that say that nobody listens there. */
const NOBODY: ReadonlySet<unknown> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EHOSTUNREACH', 'ENETUNREACH'])

/** @returns `data` of the reply @throws CommandError for a refusal, or where no gateway answers */
export async function askRemote(remote: Remote, asked: Asked, answerMs = ANSWER_MS): Promise<unknown> {
  const url = urlOf(remote.server, asked.name)
  const send = url.protocol === 'https:' ? request : plainRequest
  const open: Parameters<typeof post>[0] = (options, onAnswer) =>
    send(url, { ...options, agent: false }, onAnswer)
  const headers = { Authorization: `Bearer ${readToken(remote.tokenFile)}` }
  const { data, isLong = false } = asked
  const reply = await post(open, { place: url.origin, headers, data, isLong, answerMs }).catch(thrown => {
    if (thrown instanceof CommandError) throw thrown
    const { code, message } = thrown as NodeJS.ErrnoException
    throw new CommandError(`${url.origin}: ${safe(message)}`, NOBODY.has(code) ? EXIT_NOT_RUNNING : undefined)
  })
  return dataOf(reply)
}

/** A token is sent to nobody who could be another one. */
function urlOf(server: string, name: string): URL {
  const bad = (reason: string) => new CommandError(`--server: ${reason}`, EXIT_USAGE)
  if (!URL.canParse(server)) throw bad('must be a URL, as https://chat.example.com:9091')
  const url = new URL(server)
  const isLocal = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLocal))
    throw bad(
      'must be https://…: others could read the token; or http:// on this machine, as the end of a tunnel',
    )
  if (url.pathname !== '/' || url.search !== '' || url.username !== '') throw bad('must be an address alone')
  return new URL(`/v1/${name}`, url)
}

function readToken(file: string): string {
  const stats = statSync(file, { throwIfNoEntry: false })
  if (!stats?.isFile()) throw new CommandError(`--token-file: ${file}: no such file`)
  if (stats.mode & 0o077) throw new CommandError(`--token-file: ${file}: others may read it; chmod go-rwx it`)
  const token = readFileSync(file, 'utf8').trim()
  if (!/^ma_[\w-]+$/.test(token))
    throw new CommandError(`--token-file: ${file}: has no token of mumi admin-token`)
  return token
}
