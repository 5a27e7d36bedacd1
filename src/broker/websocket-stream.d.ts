/** The one call of websocket-stream 5.5 that we make: an open `ws` socket as a stream of its binary frames. */
declare module 'websocket-stream' {
  import type { Duplex } from 'node:stream'
  import type { WebSocket } from 'ws'

  function websocketStream(socket: WebSocket): Duplex
  export = websocketStream
}
