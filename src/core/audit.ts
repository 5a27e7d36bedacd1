/**
 * The audit: who did what, when and from where. One JSON object per line, apart from the log. No line has a password,
 * token or email.
 */
import { once } from 'node:events'
import { pino } from 'pino'
import { lineFileFault } from './line-file.js'
import type { LoginKind, UserId } from './model.js'
import { type Redaction, redacted } from './redact.js'

export type AuditEvent =
  | 'account.created'
  | 'account.disabled'
  | 'account.enabled'
  | 'account.shown'
  | 'account.exported'
  | 'accounts.imported'
  | 'accounts.listed'
  | 'admin-token.created'
  | 'admin-token.revoked'
  | 'admin-tokens.listed'
  | 'admin.denied'
  | 'admin.refused'
  | 'backup.made'
  | 'broadcast.sent'
  | 'config.reloaded'
  | 'inbox.purged'
  | 'inbox.read'
  | 'inbox.shown'
  | 'gateway.drained'
  | 'invite.created'
  | 'invite.revoked'
  | 'invites.listed'
  | 'log-level.changed'
  | 'message.traced'
  | 'password.reset'
  | 'role.granted'
  | 'role.revoked'
  | 'session.kicked'
  | 'stats.read'
  | 'account.registered'
  | 'account.delete-refused'
  | 'account.deleted'
  | 'account.deletion-scheduled'
  | 'account.kept'
  | 'app-password.minted'
  | 'credential.minted'
  | 'file.removed'
  | 'email.change-asked'
  | 'email.changed'
  | 'email.restored'
  | 'email.verified'
  | 'email.verify-refused'
  | 'keys.rotated'
  | 'greeting-key.rotated'
  | 'login.failed'
  | 'login.succeeded'
  | 'logout'
  | 'passkey.added'
  | 'passkey.removed'
  | 'password.changed'
  | 'password.refused'
  | 'password.reset-asked'
  | 'password.reset-refused'
  | 'second-factor.codes-renewed'
  | 'second-factor.off'
  | 'second-factor.on'
  | 'second-factor.refused'
  | 'profile.changed'
  | 'session.revoked'
  | 'sessions.listed'
  | 'token.refreshed'
  | 'token.refused'
  | 'token.reused'

export interface AuditEntry {
  readonly event: AuditEvent
  /** The account that the event is about; undefined if none was found. */
  readonly userId?: UserId | undefined
  /** The admin, if an admin acted on another user's account. */
  readonly admin?: UserId | undefined
  readonly front?: string
  /** Name of the operator's token. */
  readonly operator?: string | undefined
  /** Name of the token that was made or revoked. */
  readonly token?: string
  readonly remoteAddress?: string | undefined
  readonly session?: string | undefined
  readonly kind?: LoginKind | undefined
  readonly device?: string | undefined
  /** The number of the refusal (docs/protocol.md, section 3), or the return code of the CONNACK. */
  readonly code?: number
  /** The number of logins that were revoked, of connections that ended, or of messages that were removed. */
  readonly count?: number
  readonly messageId?: string
  /** The id of an invite: never its code. */
  readonly invite?: string | undefined
  /** Which fields were changed, separated by commas; never what they are. */
  readonly fields?: string
  /** What an operator asked for, if it was refused. */
  readonly request?: string
}

export interface Audit {
  record(entry: AuditEntry): void
  /** Lines from now on go to the file that has the path now: the one before may have been renamed. */
  reopen(): void
  /** Resolves when all lines are written, or after 5 s. */
  close(): Promise<void>
}

const OFF: Audit = { record: () => undefined, reopen: () => undefined, close: async () => undefined }

/** Most bytes of lines that wait for a slow disk. Further lines are dropped and counted. */
const MAX_WAITING_BYTES = 16 * 2 ** 20
/** How long `close` waits for a slow disk, ms. */
const CLOSE_MS = 5000

export interface AuditEvents {
  /** A write to the file failed. */
  readonly onError: (error: Error) => void
  /** A line was dropped because `MAX_WAITING_BYTES` already wait for the disk. */
  readonly onDropped: () => void
}

/**
 * Opens the audit file for appending and creates it with mode 0600 if it does not exist. Writes are asynchronous: a
 * request may be answered before its line is on the disk.
 * @param file path of the file, see lineFileFault; '' switches the audit off
 * @param redact what is left out of clients' addresses
 * @throws the system's error if the file cannot be opened
 */
export async function openAudit(
  file: string,
  { onError, onDropped }: AuditEvents,
  redact: Redaction = 'none',
): Promise<Audit> {
  if (file === '') return OFF
  const sink = pino.destination({
    dest: file,
    append: true,
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
      if (isOpen) log.info(redacted(entry, redact))
    },
    reopen() {
      if (!isOpen) return
      const fault = lineFileFault(file)
      if (fault === undefined) sink.reopen()
      else onError(new Error(fault))
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
