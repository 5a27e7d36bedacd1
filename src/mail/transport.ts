/** Where mail goes: to a mail server by SMTP, or into files. nodemailer is loaded when the first letter is sent. */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Message } from './letter.js'

export interface Transport {
  /** @returns the path of the file, where it is one @throws MailError */
  send(message: Message): Promise<string | undefined>
  close(): void
}

/** Why a letter was not sent, without the address: nothing of it is in the log. */
export class MailError extends Error {
  override readonly name = 'MailError'
  constructor(
    /** For the log: a code of nodemailer or of the system, and the code of the server's answer. */
    readonly code: string,
    /** The server will never take this letter. */
    readonly isFinal: boolean,
  ) {
    super(code)
  }
}

/** Of mail that a program writes: no out-of-office reply, please (RFC 3834, 5). */
const HEADERS = { 'Auto-Submitted': 'auto-generated' }

/** A server that accepts a connection and then says nothing must not hold a letter for ever, ms. */
const SMTP_LIMITS = {
  connectionTimeout: 10_000,
  greetingTimeout: 10_000,
  socketTimeout: 30_000,
  dnsTimeout: 10_000,
}

/** nodemailer reads `path` and `href` of attachments. We have none; this is the second lock. */
const NO_ACCESS = { disableFileAccess: true, disableUrlAccess: true }

/** An address in an object is never parsed as a list of addresses. */
const mailOf = ({ to, ...rest }: Message, from: string) => ({
  ...rest,
  from,
  to: { name: '', address: to },
  headers: HEADERS,
  ...NO_ACCESS,
})

/** Each letter has a connection of its own: they are few, and a connection that is kept may have died meanwhile. */
export class SmtpTransport implements Transport {
  #isClosed = false

  /** @param url `smtp://user:password@host:port` (STARTTLS where the server offers it) or `smtps://…` */
  constructor(
    private readonly url: string,
    private readonly from: string,
  ) {}

  async send(message: Message): Promise<undefined> {
    const { createTransport } = await import('nodemailer')
    if (this.#isClosed) throw new MailError('closed', false)
    const mail = createTransport({ url: this.url, ...SMTP_LIMITS })
    try {
      await mail.sendMail(mailOf(message, this.from))
    } catch (thrown) {
      throw mailError(thrown)
    } finally {
      mail.close()
    }
  }

  close(): void {
    this.#isClosed = true
  }
}

/** A 5yz of the server about the address or the letter is for good (RFC 5321, 4.2.1); one about our login is not. */
function mailError(thrown: unknown): MailError {
  const { code = 'EMAIL', responseCode } = thrown as { code?: string; responseCode?: number }
  const isOurs = code !== 'EENVELOPE' && code !== 'EMESSAGE'
  const isFinal = !isOurs && (responseCode === undefined || responseCode >= 500)
  return new MailError(responseCode === undefined ? code : `${code} ${responseCode}`, isFinal)
}

/** Files that are kept, the newest: whoever can ask for letters must not fill the disk. */
const MAX_FILES = 1000
const NAME = /^\d{4}-\d\d-\d\dT[\dZ.-]+_[\w-]{8}\.eml$/

/** Each letter is a file as mail programs open it (RFC 5322), whole from the moment at which it is there. */
export class FileTransport implements Transport {
  constructor(
    private readonly dir: string,
    private readonly from: string,
  ) {}

  async send(message: Message): Promise<string> {
    const { createTransport } = await import('nodemailer')
    const writer = createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
    const { message: bytes } = await writer.sendMail(mailOf(message, this.from)).catch(thrown => {
      throw mailError(thrown)
    })
    const time = new Date().toISOString().replaceAll(':', '-')
    const name = `${time}_${randomBytes(6).toString('base64url')}.eml`
    const path = join(this.dir, name)
    try {
      await mkdir(this.dir, { recursive: true, mode: 0o700 })
      await writeFile(`${path}.part`, bytes as Buffer, { mode: 0o600, flag: 'wx' })
      await rename(`${path}.part`, path)
      await this.#removeOldest()
    } catch (thrown) {
      throw new MailError((thrown as NodeJS.ErrnoException).code ?? 'EFILE', false)
    }
    return path
  }

  close(): void {}

  async #removeOldest(): Promise<void> {
    const names = (await readdir(this.dir)).filter(name => NAME.test(name)).sort()
    for (const name of names.slice(0, -MAX_FILES)) await rm(join(this.dir, name), { force: true })
  }
}
