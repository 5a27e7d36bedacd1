/** Options of the broker's persistence. */

import type { OverRetainedLimit } from './retained.js'

/** Delivers inbox messages in place of the queue of this persistence. */
interface InboxHooks {
  /** Whether packets on this topic are not to be queued. */
  owns(topic: string): boolean
  /** PUBACK or PUBCOMP of a packet identifier from FIRST_INBOX_ID on. */
  acknowledged(clientId: string, messageId: number): Promise<unknown>
  /** PUBREC of such an identifier. PUBREL goes out when the promise resolves. */
  released(clientId: string, messageId: number): Promise<unknown>
}

/** Limits of what is stored for MQTT clients. */
export interface StateLimits {
  /** How long a session is kept unseen, ms; 0: for ever. */
  readonly sessionExpiryMs: number
  /** Packets queued for one session; beyond that the oldest is dropped. */
  readonly maxQueuedMessages: number
  readonly maxQueuedBytes: number
  /** Bytes queued for all sessions of an account; beyond that the oldest packets of the session that gets one are dropped. */
  readonly accountQueuedBytes: number
  /** Retained messages of all accounts; a new one beyond that is not retained. */
  readonly maxRetained: number
  readonly maxRetainedBytes: number
  /** The same for the messages of one account. */
  readonly accountRetained: number
  readonly accountRetainedBytes: number
}

/** Limits that are absent do not apply. */
export interface PersistenceOptions extends Partial<StateLimits> {
  /** Whether a filter may be stored at SUBSCRIBE, and restored at CONNECT. Default: always. */
  readonly isAllowed?: (clientId: string, filter: string) => boolean
  readonly onDropped?: (clientId: string, count: number) => void
  /** A message was not retained. @param limit the config key of the limit */
  readonly onNotRetained?: (limit: OverRetainedLimit['limit']) => void
  /** Told of store failures that Aedes cannot be told of without ending the process, or whose result nobody waits for. */
  readonly onError?: (error: unknown) => void
  readonly inboxHooks?: InboxHooks
}

/** Packet identifiers from here to 65535 belong to the inbox (mqtt/inbox-delivery.ts), those below to Aedes. */
export const FIRST_INBOX_ID = 32_768
