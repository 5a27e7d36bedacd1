/** Mail as its readers get it: letters in files, and a real SMTP server. */
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, watch } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import type { Test } from 'tap'

export interface ReadLetter {
  readonly raw: string
  readonly headers: string
  readonly to: string
  readonly subject: string
  readonly text: string
  readonly html: string
  /** The first link of the text; '' = none. */
  readonly link: string
  /** '' = none. */
  readonly code: string
}

export function readLetter(raw: string): ReadLetter {
  const [headers = ''] = raw.split('\r\n\r\n', 1)
  const unfolded = headers.replace(/\r\n[ \t]+/g, ' ')
  const header = (name: string) => new RegExp(`^${name}: (.*)$`, 'mi').exec(unfolded)?.[1] ?? ''
  const text = partOf(raw, 'text/plain')
  return {
    raw,
    headers,
    to: header('To'),
    subject: decodeWords(header('Subject')),
    text,
    html: partOf(raw, 'text/html'),
    link: /https?:\/\/\S+/.exec(text)?.[0] ?? '',
    code: /\b[0-9A-Z]{5}-[0-9A-Z]{5}\b/.exec(text)?.[0] ?? '',
  }
}

/** A part of multipart/alternative, decoded (RFC 2045, 6.7 and 6.8). */
function partOf(raw: string, type: string): string {
  const boundary = /boundary="?([^";\r\n]+)/.exec(raw)?.[1] ?? '-'
  const part = raw.split(`--${boundary}`).find(piece => piece.includes(`Content-Type: ${type}`)) ?? ''
  const at = part.indexOf('\r\n\r\n')
  const body = part.slice(at + 4)
  if (/Content-Transfer-Encoding: base64/i.test(part.slice(0, at)))
    return Buffer.from(body, 'base64').toString()
  if (!/quoted-printable/i.test(part.slice(0, at))) return body
  const bytes = body
    .replace(/=\r\n/g, '')
    .replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(bytes, 'latin1').toString()
}

/** RFC 2047. */
const decodeWords = (text: string): string =>
  text.replace(/=\?utf-8\?(B|Q)\?([^?]*)\?=\s*/gi, (_, encoding, word: string) =>
    encoding.toUpperCase() === 'B'
      ? Buffer.from(word, 'base64').toString()
      : Buffer.from(
          word
            .replaceAll('_', ' ')
            .replace(/=([0-9A-F]{2})/gi, (__, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
          'latin1',
        ).toString(),
  )

/** Letters in files, each given once, in the order of sending. */
export class MailFolder {
  readonly #seen = new Set<string>()

  constructor(readonly dir: string) {}

  /** Letters that nobody has taken. */
  unread(): string[] {
    const names = existsSync(this.dir) ? readdirSync(this.dir) : []
    return names.filter(name => name.endsWith('.eml') && !this.#seen.has(name)).sort()
  }

  /** Waits for the next letter, to one address if it is given. */
  async next(to?: string): Promise<ReadLetter> {
    await mkdir(this.dir, { recursive: true })
    const watcher = watch(this.dir)
    try {
      for (;;) {
        const changed = once(watcher, 'change')
        for (const name of this.unread()) {
          const letter = readLetter(readFileSync(join(this.dir, name), 'utf8'))
          if (to !== undefined && !letter.to.includes(to)) continue
          this.#seen.add(name)
          return letter
        }
        await changed
      }
    } finally {
      watcher.close()
    }
  }
}

export interface MailServer {
  readonly url: string
  readonly port: number
  /** Waits for the next letter. */
  next(): Promise<ReadLetter>
  close(): Promise<void>
}

/** A real SMTP server on a free port, or on one given. */
export async function mailServer(t: Test, options: SMTPServerOptions = {}, port = 0): Promise<MailServer> {
  const letters: ReadLetter[] = []
  const waiting: ((letter: ReadLetter) => void)[] = []
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS', 'AUTH'],
    onData(stream, _session, done) {
      const pieces: Buffer[] = []
      stream.on('data', (piece: Buffer) => void pieces.push(piece))
      stream.on('end', () => {
        const letter = readLetter(Buffer.concat(pieces).toString())
        const next = waiting.shift()
        if (next === undefined) letters.push(letter)
        else next(letter)
        done()
      })
    },
    ...options,
  })
  const listening = server.listen(port, '127.0.0.1') as unknown as { address(): AddressInfo }
  await once(server.server, 'listening')
  const close = () => new Promise<void>(resolve => server.close(() => resolve()))
  t.teardown(close)
  const address = listening.address()
  return {
    url: `smtp://127.0.0.1:${address.port}`,
    port: address.port,
    next: async () => letters.shift() ?? new Promise(resolve => waiting.push(resolve)),
    close,
  }
}
