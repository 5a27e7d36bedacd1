/** Options of the broker's persistence. */

import type { OnDamaged } from './kv.js'
import type { OverRetainedLimit } from './retained.js'

/** Limits of what is stored for MQTT clients. */
export interface StateLimits {
  /** How long a session is kept after its client was last connected, ms; 0: without limit. */
  readonly sessionExpiryMs: number
  /** Packets queued for one session; beyond this limit the oldest packet is dropped. */
  readonly maxQueuedMessages: number
  readonly maxQueuedBytes: number
  /**
   * Bytes queued for all sessions of an account. Beyond this limit the session that gets a packet drops its oldest
   * ones.
   */
  readonly accountQueuedBytes: number
  /** Retained messages of all accounts; a new one beyond this limit is not retained. */
  readonly maxRetained: number
  readonly maxRetainedBytes: number
  /** The same for the messages of one account. */
  readonly accountRetained: number
  readonly accountRetainedBytes: number
}

/** A limit that is absent does not apply. */
export interface PersistenceOptions extends Partial<StateLimits> {
  readonly onDropped?: (clientId: string, count: number) => void
  /** Called when a message is not retained. @param limit the config key of the limit */
  readonly onNotRetained?: (limit: OverRetainedLimit['limit']) => void
  readonly onDamaged?: OnDamaged
  /** Called for a store failure if no caller waits for the result, or if nobody would handle the rejection. */
  readonly onError?: (error: unknown) => void
}
