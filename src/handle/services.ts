/** The services that handlers use, and the rules from the config. */
import type { Accounts, HeldAddresses, Invites, PendingDeletions } from '../accounts/accounts.js'
import type { Identity } from '../auth/identity.js'
import type { Audit } from '../core/audit.js'
import type { Logger } from '../core/log.js'
import type { Files } from '../files/files.js'
import type { Pictures, ProfileImages } from '../images/profile-images.js'
import type { Inbox, Retention } from '../inbox/inbox.js'
import type { MessageIds } from '../inbox/message-id.js'
import type { Limits } from '../limits/limits.js'
import type { LiveConnections } from '../live/live.js'
import type { PostOffice } from '../mail/post-office.js'
import type { RequestRules } from '../protocol/requests.js'

/** Who sees what of a user, besides the user and admins. */
export interface Privacy {
  readonly email: 'everyone' | 'users' | 'self'
  readonly presence: 'everyone' | 'users' | 'self'
  /** Who may query users without naming an id, email or user name; others get themselves alone. */
  readonly listing: 'users' | 'admins'
}

export interface HandlerRules extends RequestRules {
  readonly anonymousQuery: 'lookup' | 'none' | 'all'
  readonly queryLimit: number
  readonly privacy: Privacy
  readonly maxContentBytes: number
  /** False: a message to a user who is offline is refused (10008) instead of stored. */
  readonly offlineDelivery: boolean
  /** Who may register: `invite`: who has one; `closed`: nobody. */
  readonly registration: 'open' | 'invite' | 'closed'
  /** Who may send broadcasts; `off`: nobody. */
  readonly broadcast: 'users' | 'admins' | 'off'
  /** What an account whose address was never verified may do; see accounts.verify of the config. */
  readonly verify: 'off' | 'soft' | 'required'
  /** How long an address is held for whoever may take its change back, ms. */
  readonly undoLifetimeMs: number
  /** Whether there are files. */
  readonly files: boolean
  /** Where browsers reach the gateway, without a slash at its end; '' = not known. */
  readonly publicUrl: () => string
  /** Longest profile image. */
  readonly maxImageBytes: number
  /** Whether a message with the `id` of one before it is looked up as a repeat. */
  readonly dedup: boolean
}

/** A part of everything that is stored of one person. */
export interface ExportPage {
  readonly entries: readonly object[]
  /** The next part; undefined behind the last one. */
  readonly next: string | undefined
}

export interface BackedUp {
  readonly bytes: number
  /** Files that people sent: those beside the backup, with a line for each that is missing or damaged; or the bucket in which they are. */
  readonly files?:
    | { readonly count: number; readonly bytes: number; readonly faults: readonly string[] }
    | { readonly bucket: string }
}

/** What an operator asks of the process as a whole. */
export interface Operation {
  /** Numbers of the running gateway, by name. */
  stats(): Promise<Readonly<Record<string, string | number>>>
  /** @param level sets it @returns the lowest level of lines that are logged */
  logLevel(level?: string): string
  /** See CopyableStore.backup. @param withFiles whether files that people sent are copied, too; default: true */
  backup(file: string, withFiles?: boolean): Promise<BackedUp>
  /** @param from `next` of the part before; default: the first one */
  exportPage(id: string, from?: string): Promise<ExportPage>
  /**
   * Begins to send clients away, and then ends the process; see docs/operations.md.
   * @param seconds until the last client is sent away; default: `shutdown.spread`
   */
  drain(seconds?: number): { readonly pid: number; readonly connections: number; readonly seconds: number }
  /** Reads the config again. @throws GatewayError BAD_FIELD if it has a fault; then nothing is changed */
  reload(): Promise<{ readonly changed: readonly string[]; readonly atRestart: readonly string[] }>
}

export interface Services extends Identity {
  readonly accounts: Accounts
  readonly invites: Invites
  readonly pendingDeletions: PendingDeletions
  readonly live: LiveConnections
  readonly inbox: Inbox
  readonly retention: Retention
  readonly ids: MessageIds
  readonly limits: Limits
  readonly rules: HandlerRules
  readonly log: Logger
  readonly audit: Audit
  readonly operation: Operation
  readonly mail: PostOffice
  readonly held: HeldAddresses
  readonly pictures: Pictures
  readonly profileImages: ProfileImages
  readonly files: Files
}
