/** Hundreds of clients that hold resources and send nothing useful; see test/wire/hostile-clients.test.ts. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { frame, upgradeRequest } from './websocket-wire.js'
import type { World } from './world.js'

interface Client {
  readonly front: 'http' | 'mqtt'
  readonly begin: (socket: Socket) => void
}

/** Large enough that part of it waits in the server if the client does not read. */
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

/** Small enough that there are more groups than LMDB has reader slots (126). */
const KNOCKS_AT_ONCE = 5

/** Sends one byte per turn. */
async function drip(socket: Socket): Promise<void> {
  for (const byte of Buffer.concat([upgradeRequest(), LOOKUP, LOOKUP])) {
    if (socket.destroyed) return
    socket.write(Buffer.of(byte))
    await turn()
  }
}

/** @param count clients of each kind @returns a function that closes all of them without a goodbye */
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
 * Connects and closes without a byte, as load balancers do, and asks for `/readyz` now and then, as they do, too. That
 * request writes to the store. Connections without a write between them see the same snapshot and would share one reader
 * slot, so a leak of slots would not be found.
 * @param count to each port
 */
export async function knock(world: World, count: number): Promise<void> {
  const { http, mqtt } = world.ports
  for (let i = 0; i < count; i += KNOCKS_AT_ONCE) {
    await Promise.all(Array.from({ length: KNOCKS_AT_ONCE }, () => [http, mqtt].map(comeAndGo)).flat())
    // A limit by address would refuse it.
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
