import type { Locale } from '../core/errors.js'
import type { Acl } from './acl/access.js'

/** What the composition root hands to the broker; the keys of `mqtt` in docs/config.md. */
export interface BrokerOptions {
  readonly payload: 'text' | 'json'
  /** Clients without user name and password may connect; they have no inbox. */
  readonly anonymous: boolean
  readonly acl: Acl
  /** Who may read the presence of others. */
  readonly presence: 'everyone' | 'users' | 'self'
  /** How long a change of presence waits for the next one, ms. */
  readonly presenceWindowMs: number
  readonly closeOnRefused: boolean
  /** Longest keep-alive a client may ask for, s; 0 = any. */
  readonly keepaliveLimitSeconds: number
  readonly connectTimeoutMs: number
  readonly maxPacketBytes: number
  readonly maxTopicLevels: number
  readonly maxTopicBytes: number
  readonly maxClientIdBytes: number
  readonly maxWillBytes: number
  /** QoS 2 packets of one session that wait for their PUBREL. */
  readonly maxUnreleased: number
  /** Bytes of a packet that count as one request. */
  readonly bytesPerRequest: number
  readonly maxInflight: number
  readonly windowChars: number
  readonly maxBufferedBytes: number
  readonly stallTimeoutMs: number
  readonly sessionExpiryMs: number
  readonly maxQueuedMessages: number
  readonly maxQueuedBytes: number
  readonly accountQueuedBytes: number
  readonly maxRetained: number
  readonly maxRetainedBytes: number
  readonly accountRetained: number
  readonly accountRetainedBytes: number
  /** Filters of one session. */
  readonly maxSubscriptions: number
  /** Persistent sessions of one account. */
  readonly maxSessions: number
  readonly locale: Locale
}
