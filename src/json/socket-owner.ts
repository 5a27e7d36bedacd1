/** What a ClientSocket needs of the connection that it belongs to. */
import type { Fuse } from '../core/faults.js'

/** What is told of the events. An exception of a method becomes a fault of the owner. */
export interface SocketOwner extends Fuse {
  received(data: Buffer, isBinary: boolean): void
  pinged(payload: Buffer): void
  ponged(payload: Buffer): void
  /** The socket took what was written. */
  drained(): void
  /** The socket has closed. @param saidSo by a close frame */
  clientLeft(saidSo: boolean): void
  /** The client broke the protocol. @param code of the close frame that tells it so @param what it did */
  failed(code: number, what: string): void
}

/** Has what is to leave at the end of the turn. */
export interface Unwritten {
  /** Writes it now. */
  flush(): void
}
