/** What the composition root may set of the broker's persistence. */

import type { OverRetainedLimit } from './retained.js'

/** What delivers inbox messages instead of the queue here. */
export interface InboxHooks {
  /** Whether this topic's packets are its to keep. */
  owns(topic: string): boolean
  /** PUBACK or PUBCOMP of an identifier from FIRST_SEAM_ID on. */
  acknowledged(clientId: string, messageId: number): Promise<unknown>
  /** PUBREC of such an identifier; PUBREL goes out when it resolves. */
  released(clientId: string, messageId: number): Promise<unknown>
}

export interface PersistenceOptions {
  /** How long a session may stay unseen, ms; 0 = for ever. Limits that are absent are unlimited. */
  readonly sessionExpiryMs?: number
  /** A session; beyond it the oldest is dropped. */
  readonly maxQueuedMessages?: number
  readonly maxQueuedBytes?: number
  /** All sessions of an account together; beyond it the oldest of the session that gets one more is dropped. */
  readonly accountQueuedBytes?: number
  /** In all; a new one beyond it is not kept. */
  readonly maxRetained?: number
  readonly maxRetainedBytes?: number
  /** The same for what one account published. */
  readonly accountRetained?: number
  readonly accountRetainedBytes?: number
  /** Judges what is stored of a SUBSCRIBE, and again what is restored at CONNECT. Default: everything. */
  readonly isAllowed?: (clientId: string, filter: string) => boolean
  readonly onDropped?: (clientId: string, count: number) => void
  /** A retained message was not kept. */
  readonly onNotRetained?: (limit: OverRetainedLimit['limit']) => void
  /** Failures of the store that Aedes could not take without the process dying, or that nobody waits for. */
  readonly onError?: (error: unknown) => void
  readonly inboxHooks?: InboxHooks
}

/** Packet identifiers from here to 65535 are the seam's. */
export const FIRST_INBOX_ID = 32_768
