/** When an answer has its turn, when it has left, and when it never will. */
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

/**
 * The answer to a pipelined request waits for those before it. What it needs is opened only when it may leave: one client may ask for
 * much, and never read it.
 * @returns false if its turn never comes
 */
export function turnOf(socket: Socket, response: ServerResponse): Promise<boolean> {
  return new Promise(resolve => {
    if (response.socket !== null) {
      resolve(!response.destroyed)
      return
    }
    response.once('socket', () => resolve(true))
    whenOver(socket, response, () => resolve(false))
  })
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
