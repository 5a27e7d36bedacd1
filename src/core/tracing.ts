/** What a traced message tells on its way: types of app/tracing.ts. Where tracing is off, there is no Tracing to ask. */
import type { FrontEnd } from './metrics.js'

/** One message, from its frame or packet to its answer and its deliveries. */
export interface MessageTrace {
  /** It is in the store. */
  stored(commit: TracedCommit): void
  /** Its answer leaves. @param outcome name of its code */
  ended(outcome: string): void
}

export interface TracedCommit {
  /** performance.now() when the message was accepted, and when its commit was durable. */
  readonly acceptedAt: number
  readonly storedAt: number
  /** Messages of the commit. */
  readonly messages: number
  /** undefined: it is no message to an inbox. */
  readonly message?: { readonly id: string; readonly seq: number; readonly repeat: boolean }
}

export interface Tracing {
  /**
   * @param startedAt performance.now()
   * @param parent a `traceparent` of the client (W3C Trace Context, 3.2), which decides where the config says so
   * @returns undefined if this message is not traced
   */
  begin(
    name: string,
    front: FrontEnd,
    startedAt: number,
    parent?: () => string | undefined,
  ): MessageTrace | undefined
  /** A message was written to a device. @param seq in its inbox */
  delivered(messageId: string, seq: number, front: FrontEnd): void
  /** Sends what waits, for at most 2 s. */
  close(): Promise<void>
}
