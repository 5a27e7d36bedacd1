/** Clients that cost something without saying anything, by the hundred; see test/wire/hostile-clients.test.ts. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { frame, upgradeRequest } from './websocket-wire.js'
import type { World } from './world.js'

interface Client {
  readonly front: 'http' | 'mqtt'
  readonly begin: (socket: Socket) => void
}

/** Long enough that some of it waits in the server for one who does not read. */
const LOOKUPS = 300
const LOOKUP = frame({ payload: '{"type":"action","action":"query","data":{"email":"nobody@fuzz.example"}}' })

const CLIENTS: readonly Client[] = [
  { front: 'http', begin: () => undefined },
  { front: 'mqtt', begin: () => undefined },
  { front: 'http', begin: socket => socket.write('GET / HTTP/1.1\r\nHost:') },
  { front: 'mqtt', begin: socket => socket.write(Buffer.of(0x10, 0x80)) },
  { front: 'http', begin: socket => socket.end() },
  { front: 'http', begin: socket => socket.end(upgradeRequest()) },
  { front: 'mqtt', begin: socket => socket.end() },
  { front: 'http', begin: socket => void drip(socket) },
  {
    front: 'http',
    begin: socket => {
      socket.pause()
      socket.write(Buffer.concat([upgradeRequest(), ...Array<Buffer>(LOOKUPS).fill(LOOKUP)]))
    },
  },
]

/** Few enough that groups are more than LMDB has of reader slots (126). */
const KNOCKS_AT_ONCE = 5

/** A byte a turn. */
async function drip(socket: Socket): Promise<void> {
  for (const byte of Buffer.concat([upgradeRequest(), LOOKUP, LOOKUP])) {
    if (socket.destroyed) return
    socket.write(Buffer.of(byte))
    await turn()
  }
}

/** @param count of each kind @returns what ends them, without a word */
export async function gather({ ports }: World, count: number): Promise<() => void> {
  const all = await Promise.all(
    Array.from({ length: count }, () => CLIENTS)
      .flat()
      .map(async ({ front, begin }) => {
        const socket = connect({ port: ports[front], host: '127.0.0.1', allowHalfOpen: true })
        socket.on('error', () => undefined)
        await once(socket, 'connect').catch(() => undefined)
        begin(socket)
        return socket
      }),
  )
  return () => {
    for (const socket of all) socket.destroy()
  }
}

/**
 * Connects and leaves without a byte, as balancers do to see whether a port is open, and asks now and then whether the
 * gateway is ready, as they do, too. That writes: connections with nothing written between them see one snapshot of the
 * store, and would keep one reader's place however many there are.
 * @param count to each port
 */
export async function knock(world: World, count: number): Promise<void> {
  const { http, mqtt } = world.ports
  for (let i = 0; i < count; i += KNOCKS_AT_ONCE) {
    await Promise.all(Array.from({ length: KNOCKS_AT_ONCE }, () => [http, mqtt].map(comeAndGo)).flat())
    // Limits by address would turn it away.
    if (!world.isCounted) await world.checkReady()
  }
}

async function comeAndGo(port: number): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', () => undefined)
  socket.once('connect', () => socket.end())
  socket.resume()
  await new Promise<void>(resolve => socket.once('close', () => resolve()))
}
