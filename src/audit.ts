/** Who did what, when and from where: one JSON object a line, apart from the log. Never a password, token or email. */
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
  close(): void
}

const OFF: Audit = { record: () => undefined, close: () => undefined }

/**
 * @param file '' = no audit. Appended to, made with mode 0600; each line is written before what it tells of is answered
 * @param onError a line could not be written
 * @throws the system's error where it cannot be opened
 */
export function openAudit(file: string, onError: (error: Error) => void): Audit {
  if (file === '') return OFF
  const sink = pino.destination({ dest: file, append: true, mkdir: true, sync: true, mode: 0o600 })
  sink.on('error', onError)
  const log = pino(
    { base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: level => ({ level }) } },
    sink,
  )
  let isOpen = true
  return {
    record: entry => {
      if (isOpen) log.info(entry)
    },
    close() {
      isOpen = false
      sink.end()
    },
  }
}
