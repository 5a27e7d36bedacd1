/** What an uploaded file is, by its bytes, and whether it may be here. */

import { isUtf8 } from 'node:buffer'
import { execFile } from 'node:child_process'
import { open } from 'node:fs/promises'
import { fileTypeFromBuffer } from 'file-type'
import { GatewayError } from '../core/errors.js'
import { toFileError } from './disk.js'

/** Which media types may be uploaded: `image/png`, `image/*`; with `!` before it, which may not. */
export class TypeRules {
  readonly #allowed: readonly string[]
  readonly #denied: readonly string[]

  /** @param rules empty: all */
  constructor(rules: readonly string[]) {
    this.#denied = rules.filter(rule => rule.startsWith('!')).map(rule => rule.slice(1))
    this.#allowed = rules.filter(rule => !rule.startsWith('!'))
  }

  /** @throws GatewayError FILE_REFUSED */
  check(type: string): void {
    const isOf = (rule: string) =>
      rule === type || (rule.endsWith('/*') && type.startsWith(rule.slice(0, -1)))
    const isAllowed = this.#allowed.length === 0 || this.#allowed.some(isOf)
    if (!isAllowed || this.#denied.some(isOf))
      throw new GatewayError('FILE_REFUSED', { field: 'type', reason: `files of type ${type} are not taken` })
  }
}

/** Enough for every signature that file-type knows at the beginning of a file; what needs more is told as what contains it. */
const HEAD_BYTES = 65_536
export const UNKNOWN_TYPE = 'application/octet-stream'

/**
 * By the bytes alone: neither name nor what the client says counts. Text without a signature is `text/plain`, also where it
 * is HTML or SVG: as text it harms nobody.
 */
export async function sniff(path: string): Promise<string> {
  const file = await open(path, 'r').catch(thrown => {
    throw toFileError(thrown)
  })
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    const head = buffer.subarray(0, bytesRead)
    const found = await fileTypeFromBuffer(head).catch(() => undefined)
    if (found !== undefined) return TEXTS.has(found.mime) ? 'text/plain' : found.mime
    return isText(head, bytesRead === HEAD_BYTES) ? 'text/plain' : UNKNOWN_TYPE
  } finally {
    await file.close()
  }
}

/** What a browser would run or follow. */
const TEXTS: ReadonlySet<string> = new Set([
  'application/xml',
  'image/svg+xml',
  'text/html',
  'application/xhtml+xml',
])

/** @param isCut the last character may be a part of one, of up to four bytes */
function isText(head: Buffer, isCut: boolean): boolean {
  if (head.includes(0)) return false
  if (!isCut) return isUtf8(head)
  return [0, 1, 2, 3].some(less => isUtf8(head.subarray(0, head.length - less)))
}

export interface Scanner {
  /** '' = none. */
  readonly command: string
  readonly timeoutMs: number
}

/** Bytes of what the command prints; more ends it. */
const MAX_OUTPUT = 65_536

/**
 * Runs the operator's command with the path of the file as its one argument, without a shell and with none of our environment
 * but PATH. Exit code 0 lets the file in.
 * @throws GatewayError FILE_REFUSED; SCAN_FAILED if the command cannot be run, or takes too long: then nobody gets the file
 */
export function scan(path: string, { command, timeoutMs }: Scanner): Promise<void> {
  if (command === '') return Promise.resolve()
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }
  const options = { timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT, env } as const
  return new Promise((resolve, reject) => {
    execFile(command, [path], options, error => {
      if (error === null) resolve()
      else if (typeof error.code === 'number')
        reject(new GatewayError('FILE_REFUSED', { field: 'file', reason: 'the scanner refuses it' }))
      else reject(new GatewayError('SCAN_FAILED', null, error))
    })
  })
}
