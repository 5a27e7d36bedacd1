/** Planted faults; the fuzzer must find each of them. */
import { Server } from 'node:http'
import { Worker } from 'node:worker_threads'
import { JsonConnection } from '../../dist/json/connection.js'
import { RequestQueue } from '../../dist/json/request-queue.js'
import { PacketGate } from '../../dist/mqtt/wire/packet-gate.js'
import { MqttTransport } from '../../dist/mqtt/wire/transport.js'
import { EmbeddedEnv } from '../../dist/store/embedded/env.js'
import { plant, replace } from '../plant.mjs'

const EVERY = 40
const STALL_MS = 150
const LEAKED_BYTES = 2 ** 18
const kept = []
const REQUEST_MS = 20
const THREAD = 'globalThis.kept = Buffer.alloc(2 ** 26, 1); setInterval(() => {}, 1e6)'
const spoke = new WeakSet()
/** Items on one connection, or bytes in one read, beyond which a flood fault takes effect. */
const MANY = 500
const counts = new WeakMap()
let calls = 0

const sometimes = fault => {
  if (++calls % EVERY === 0) fault()
}

const countOf = thing => {
  const count = (counts.get(thing) ?? 0) + 1
  counts.set(thing, count)
  return count
}

plant({
  /** An uncaught exception during a packet. */
  crash: () =>
    replace(PacketGate, 'push', push => (...args) => {
      sometimes(() => setImmediate(() => ''.nothing()))
      return push(...args)
    }),
  /** An uncaught exception if an upgrade arrives before the last answer was sent. */
  pipeline: () =>
    replace(Server, 'emit', emit => (name, ...args) => {
      if (name === 'upgrade' && args[1]._httpMessage) setImmediate(() => ''.nothing())
      return emit(name, ...args)
    }),
  /** An MQTT connection that ends without a byte keeps one of the store's read transactions, of which LMDB has 126. */
  readers: () => {
    let db
    replace(
      EmbeddedEnv,
      'open',
      open => build =>
        open(table => {
          db ??= table('marks', 'string').db
          return build(table)
        }),
    )
    replace(MqttTransport, 'destroy', (destroy, transport) => () => {
      if (!transport.isDestroyed && !spoke.has(transport)) kept.push(db.useReadTransaction())
      destroy()
    })
    for (const method of ['settle', 'fail'])
      replace(MqttTransport, method, (call, transport) => (...args) => {
        spoke.add(transport)
        return call(...args)
      })
  },
  /** Every HTTP request takes 20 ms of the event loop. */
  costly: () =>
    replace(Server, 'emit', emit => (name, ...args) => {
      const until = performance.now() + REQUEST_MS
      if (name === 'request') while (performance.now() < until);
      return emit(name, ...args)
    }),
  /** Some packets start a thread that never ends and holds 64 MiB, so that two show; no object of the server holds them. */
  threads: () =>
    replace(PacketGate, 'push', push => (...args) => {
      sometimes(() => new Worker(THREAD, { eval: true, execArgv: [] }).unref())
      return push(...args)
    }),
  /** Many HTTP requests on one connection cause an uncaught exception. */
  requests: () =>
    replace(Server, 'emit', emit => (name, ...args) => {
      if (name === 'request' && countOf(args[0].socket) > MANY) setImmediate(() => ''.nothing())
      return emit(name, ...args)
    }),
  /** Many messages without a login cause an uncaught exception. */
  frames: () =>
    replace(RequestQueue, 'push', (push, queue) => (frame, bytes) => {
      if (countOf(queue) > MANY) setImmediate(() => ''.nothing())
      push(frame, bytes)
    }),
  /** Many pings on one connection cause an uncaught exception. */
  pings: () =>
    replace(JsonConnection, 'pinged', (pinged, connection) => payload => {
      if (countOf(connection) > MANY) setImmediate(() => ''.nothing())
      pinged(payload)
    }),
  /** Many acknowledgements in one read cause an uncaught exception. */
  acknowledgements: () =>
    replace(PacketGate, 'push', push => (chunk, ...args) => {
      if (chunk[0] >> 4 >= 4 && chunk[0] >> 4 <= 7 && chunk.length > MANY) setImmediate(() => ''.nothing())
      return push(chunk, ...args)
    }),
  /** A long SUBSCRIBE causes an uncaught exception. */
  filters: () =>
    replace(PacketGate, 'push', push => (chunk, ...args) => {
      if (chunk[0] === 0x82 && chunk.length > MANY) setImmediate(() => ''.nothing())
      return push(chunk, ...args)
    }),
  /** A field one longer than its limit gets no answer. */
  edge: () =>
    replace(RequestQueue, 'push', push => (frame, bytes) => {
      if (!/"(.)\1{320}"/u.test(frame ?? '')) push(frame, bytes)
    }),
  /** Some messages get no answer. */
  silence: () =>
    replace(RequestQueue, 'push', push => (frame, bytes) => {
      if (++calls % EVERY !== 0) push(frame, bytes)
    }),
  /** Some messages block the event loop. */
  stall: () =>
    replace(RequestQueue, 'push', push => (frame, bytes) => {
      const until = performance.now() + STALL_MS
      if (frame?.includes('are you there?')) while (performance.now() < until);
      push(frame, bytes)
    }),
  /** Received data is kept after its connection has closed. */
  leak: () =>
    replace(PacketGate, 'push', push => (...args) => {
      kept.push(Buffer.alloc(LEAKED_BYTES, 1))
      return push(...args)
    }),
})
