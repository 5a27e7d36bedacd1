import type { Locale } from '../core/errors.js'
import type { Acl } from './acl/access.js'
import type { StateLimits } from './routing/persistence/options.js'

/** Options of the broker. Most are keys under `mqtt`, others under `delivery`, `privacy` and `limits`; docs/config.md has their defaults. */
export interface BrokerOptions {
  /** Payload of a PUBLISH to an inbox: the content, or a JSON object with it. */
  readonly payload: 'text' | 'json'
  /** Clients without user name and password may connect. They have no inbox. */
  readonly anonymous: boolean
  readonly acl: Acl
  /** Who may read the presence of other users. */
  readonly presence: 'everyone' | 'users' | 'self'
  /** For so long changes of presence are collected, ms. */
  readonly presenceWindowMs: number
  /** A refused PUBLISH closes the connection; otherwise it is acknowledged and dropped. */
  readonly closeOnRefused: boolean
  /** Longest keep alive that a client may ask for, s; 0: any. */
  readonly keepaliveLimitSeconds: number
  readonly connectTimeoutMs: number
  readonly maxPacketBytes: number
  readonly maxTopicLevels: number
  readonly maxTopicBytes: number
  readonly maxClientIdBytes: number
  readonly maxWillBytes: number
  /** QoS 2 packets of one session whose PUBREL has not come. */
  readonly maxUnreleased: number
  /** Bytes of a packet that count as one request. */
  readonly bytesPerRequest: number
  /** Messages of an inbox that are sent and not acknowledged, of one device. */
  readonly maxInflight: number
  /** The same in UTF-16 code units of their texts. */
  readonly windowChars: number
  readonly maxBufferedBytes: number
  readonly stallTimeoutMs: number
  /** Of sessions, their queues, and retained messages. */
  readonly stateLimits: StateLimits
  /** Filters of one session. */
  readonly maxSubscriptions: number
  /** Persistent sessions of one account. */
  readonly maxSessions: number
  readonly locale: Locale
  /** Where clients of MQTT 5 should go when this server is left; '': back here. */
  readonly serverReference: string
}
