/** What the parts of a JSON connection know of the server that took it, and of the connection. */
import type { CodeName } from '../core/errors.js'
import type { Fuse, OnFault } from '../core/faults.js'
import type { Metrics } from '../core/metrics.js'
import type { ServerKey } from '../encryption/server-key.js'
import type { Later } from '../flow/later.js'
import type { Caller } from '../handle/context.js'
import type { Services } from '../handle/services.js'
import type { InboxReader } from '../inbox/reader.js'
import type { ReaderOptions } from '../inbox/sink.js'
import type { LivenessRules } from './liveness.js'
import type { QuotaRules } from './quota.js'

export interface ConnectionRules extends LivenessRules, QuotaRules {
  /** Requests that wait for their answer. At so many the socket is read no further, until half are answered. */
  readonly maxPipelined: number
  /** Bytes that the client has not taken. Beyond them nothing is delivered or read, until it takes some. */
  readonly maxBufferedBytes: number
  /** Longest message of a client that is not logged in, UTF-16 units. */
  readonly maxMessageBeforeLogin: number
  /** Encrypted packets: unknown, allowed, or asked of every client. */
  readonly encryption: 'off' | 'allow' | 'require'
}

export interface ConnectionHost {
  readonly services: Services
  readonly rules: ConnectionRules
  readonly metrics: Metrics
  /** For pings that may wait. */
  readonly later: Later
  readonly onFault: OnFault
  /** Of the greeting. */
  readonly key: ServerKey
  /** False while the server is closing: requests are then refused. */
  readonly isOpen: boolean
  openReader(options: Pick<ReaderOptions, 'userId' | 'device' | 'sink' | 'from'>): InboxReader
}

/** The connection that asks. */
export interface Asker extends Caller, Fuse {
  /** A reply was written. @param reason why the connection must end, if it must */
  replied(reason: CodeName | undefined): void
  /** Its requests, which were delayed, may go on. */
  goOn(): void
  /** Ends the connection and says why. */
  end(code: CodeName): void
}
