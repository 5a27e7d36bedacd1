/** Who did what, when and from where: one JSON object a line, apart from the log. Never a password, token or email. */
import { once } from 'node:events'
import { pino } from 'pino'
import type { LoginKind, UserId } from './model.js'

export type AuditEvent =
  | 'account.registered'
  | 'account.delete-refused'
  | 'account.deleted'
  | 'credential.minted'
  | 'keys.rotated'
  | 'login.failed'
  | 'login.succeeded'
  | 'logout'
  | 'password.changed'
  | 'password.refused'
  | 'session.revoked'
  | 'sessions.listed'
  | 'token.refreshed'
  | 'token.refused'
  | 'token.reused'

export interface AuditEntry {
  readonly event: AuditEvent
  /** Whose account; absent where nobody was found. */
  readonly userId?: UserId | undefined
  /** The admin who did it to somebody else's account. */
  readonly admin?: UserId | undefined
  readonly front?: string
  readonly remoteAddress?: string | undefined
  readonly session?: string | undefined
  readonly kind?: LoginKind | undefined
  readonly device?: string | undefined
  /** The number of a refusal (docs/protocol.md, section 3), or of a CONNACK. */
  readonly code?: number
  /** How many sessions. */
  readonly count?: number
}

export interface Audit {
  record(entry: AuditEntry): void
  /** Resolves when all is written. */
  close(): Promise<void>
}

const OFF: Audit = { record: () => undefined, close: async () => undefined }

/** Bytes of lines that wait for a slow disk; beyond it lines are dropped and counted. */
const MAX_WAITING_BYTES = 16 * 2 ** 20
/** How long closing waits for such a disk, ms. */
const CLOSE_MS = 5000

export interface AuditEvents {
  /** A line could not be written. */
  readonly onError: (error: Error) => void
  /** A line was dropped: too many wait for the disk. */
  readonly onDropped: () => void
}

/**
 * Nobody waits for the disk: a line is on its way to the file when what it tells of is answered.
 * @param file '' = no audit. Appended to, made with mode 0600
 * @throws the system's error where it cannot be opened
 */
export async function openAudit(file: string, { onError, onDropped }: AuditEvents): Promise<Audit> {
  if (file === '') return OFF
  const sink = pino.destination({
    dest: file,
    append: true,
    mkdir: true,
    sync: false,
    mode: 0o600,
    maxLength: MAX_WAITING_BYTES,
  })
  await once(sink, 'ready')
  sink.on('error', onError)
  sink.on('drop', onDropped)
  const log = pino(
    { base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: level => ({ level }) } },
    sink,
  )
  let isOpen = true
  return {
    record: entry => {
      if (isOpen) log.info(entry)
    },
    async close() {
      if (!isOpen) return
      isOpen = false
      const late = setTimeout(() => sink.destroy(), CLOSE_MS)
      const closed = new Promise(resolve => sink.once('close', resolve))
      sink.end()
      await closed
      clearTimeout(late)
    },
  }
}
