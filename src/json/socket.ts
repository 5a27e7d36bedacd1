/**
 * The events of a JSON client's socket. All sockets share the listeners: of an idle connection the listeners, with what
 * each of them holds on to, were the largest part.
 */
import type { Socket } from 'node:net'
import type { RawData } from 'ws'
import { PausableWebSocket, serverOptions } from '../net/websocket.js'
import type { Fuse } from './host.js'

/** What is told of the events. An exception of a method becomes a fault of the owner. */
export interface SocketOwner extends Fuse {
  received(data: Buffer, isBinary: boolean): void
  pinged(payload: Buffer): void
  ponged(payload: Buffer): void
  /** The socket took what was written. */
  drained(): void
  /** @param code of the client's close frame */
  clientLeft(code: number): void
  /** @param code ws' name of what the client did wrong */
  failed(code: string | undefined): void
}

const OWNER = Symbol('owner')

/** A WebSocket, and the socket under it. */
type Owned<S = object> = S & { [OWNER]?: SocketOwner }

export class ClientSocket extends PausableWebSocket {
  [OWNER]?: SocketOwner
}

/** Of the WebSocketServer. @param maxPayload most bytes of one message */
export const socketOptions = (maxPayload: number) => ({
  ...serverOptions(maxPayload),
  WebSocket: ClientSocket,
  // No subprotocol is spoken here; ws would agree to the first that is offered.
  handleProtocols: () => false as const,
})

/** From now on `owner` is told of the events of both. */
export function listen(ws: ClientSocket, socket: Owned<Socket>, owner: SocketOwner): void {
  ws[OWNER] = owner
  socket[OWNER] = owner
  ws.on('message', onMessage).on('ping', onPing).on('pong', onPong)
  // ws answers protocol faults itself (1002, 1007, 1009) and then closes.
  ws.on('close', onClose).on('error', onError)
  socket.on('drain', onDrain)
}

/** A listener of all sockets. @param where see OnFault */
const shared = <A extends unknown[]>(where: string, tell: (owner: SocketOwner, ...args: A) => void) =>
  function (this: object, ...args: A): void {
    const owner = (this as Owned)[OWNER]
    if (owner === undefined) return
    try {
      tell(owner, ...args)
    } catch (thrown) {
      owner.fault(where, thrown)
    }
  }

const onMessage = shared('ws.message', (owner, data: RawData, isBinary: boolean) =>
  owner.received(data as Buffer, isBinary),
)
const onPing = shared('ws.ping', (owner, payload: Buffer) => owner.pinged(payload))
const onPong = shared('ws.pong', (owner, payload: Buffer) => owner.ponged(payload))
const onClose = shared('ws.close', (owner, code: number) => owner.clientLeft(code))
const onError = shared('ws.error', (owner, { code }: NodeJS.ErrnoException) => owner.failed(code))
const onDrain = shared('ws.drain', owner => owner.drained())
