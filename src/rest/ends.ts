/** When an answer has left, or never will. */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** By socket, what waits for the end of its answers. */
const waiting = new WeakMap<Socket, Set<() => void>>()

/**
 * Calls `done` once. Node.js tells nothing of the answers to pipelined requests whose turn had not come when their socket closed.
 */
export function whenOver(socket: Socket, response: ServerResponse, done: () => void): void {
  if (socket.destroyed || response.destroyed) {
    done()
    return
  }
  const all = waiting.get(socket) ?? watch(socket)
  const end = () => {
    if (all.delete(end)) done()
  }
  all.add(end)
  response.once('close', end)
}

/** One listener a socket, however many requests it has. */
function watch(socket: Socket): Set<() => void> {
  const all = new Set<() => void>()
  waiting.set(socket, all)
  socket.once('close', () => {
    for (const end of [...all]) end()
  })
  return all
}
