/** Makes the parts that write and send letters, as the config says. */
import { join } from 'node:path'
import type { Accounts } from '../accounts/accounts.js'
import type { HeldAddresses } from '../accounts/held-addresses.js'
import type { Proofs } from '../auth/proofs.js'
import type { Config } from '../config/config.js'
import type { Logger } from '../core/log.js'
import type { Metrics } from '../core/metrics.js'
import { RecipientBuckets } from '../limits/address-buckets.js'
import type { Limits } from '../limits/limits.js'
import { Outbox } from '../mail/outbox.js'
import { PostOffice } from '../mail/post-office.js'
import { FileTransport, SmtpTransport, type Transport } from '../mail/transport.js'
import { writeLetter } from '../mail/writer.js'
import type { Store } from '../store/store.js'

export interface MailGiven {
  readonly config: Config
  readonly log: Logger
  readonly metrics: Metrics
  readonly limits: Limits
  readonly store: Store
  readonly accounts: Accounts
  readonly proofs: Proofs
  readonly held: HeldAddresses
  /** See WriterParts. */
  readonly baseUrl: () => string | undefined
  /** See PostOfficeParts. */
  readonly isUnverifiedTold: () => boolean
}

/** News of one kind to one address: one an hour. */
const NOTICES = { perSecond: 1 / 3600, burst: 1 }

export function composeMail(given: MailGiven): { readonly outbox: Outbox; readonly mail: PostOffice } {
  const { config, log, metrics, limits, store, accounts, proofs, held, baseUrl, isUnverifiedTold } = given
  const { resetLifetime, verifyLifetime, undoLifetime } = config.accounts
  const lifetimesMs = {
    reset: resetLifetime,
    verify: verifyLifetime,
    change: verifyLifetime,
    undo: undoLifetime,
  }
  const writer = { users: store.users, proofs, held, baseUrl, locale: config.locale, lifetimesMs }
  const outbox = new Outbox(
    {
      kv: store.kv,
      transport: transportOf(config),
      write: (letter, isWanted) => writeLetter(writer, letter, isWanted),
      metrics,
      log,
    },
    { retryForMs: config.mail.retryFor, maxWaiting: config.mail.maxWaiting },
  )
  proofs.onCancel((userId, kinds) => outbox.takeBack(userId, kinds))
  const mayMail = (recipient: string) => limits.mayMail(recipient)
  const notices = new RecipientBuckets(NOTICES)
  const mayTell = (recipient: string) => notices.take(recipient)
  return { outbox, mail: new PostOffice({ accounts, outbox, mayMail, mayTell, isUnverifiedTold, log }) }
}

/** Of letters in files, which nobody answers. */
const NOBODY = 'MumiChat <mumi@localhost>'

function transportOf({ mail, data }: Config): Transport {
  if (mail.url !== '') return new SmtpTransport(mail.url, mail.from)
  return new FileTransport(mail.file || join(data.dir, 'mail'), mail.from || NOBODY)
}
