/** Faults of which the fuzzer must find each one. */
import { Server } from 'node:http'
import { WebSocket } from 'ws'
import { RequestQueue } from '../../dist/json/request-queue.js'
import { PacketGate } from '../../dist/mqtt/wire/packet-gate.js'
import { MqttTransport } from '../../dist/mqtt/wire/transport.js'
import { EmbeddedEnv } from '../../dist/store/embedded/env.js'
import { plant, replace } from '../plant.mjs'

const EVERY = 40
const STALL_MS = 150
const LEAKED_BYTES = 2 ** 18
const kept = []
const READERS = 126
/** Of one thing on one connection. */
const MANY = 500
const counts = new WeakMap()
let calls = 0
let gone = 0

const sometimes = fault => {
  if (++calls % EVERY === 0) fault()
}

const countOf = thing => {
  const count = (counts.get(thing) ?? 0) + 1
  counts.set(thing, count)
  return count
}

plant({
  /** An error where nobody catches it, in the middle of a packet. */
  crash: () =>
    replace(PacketGate, 'push', push => (...args) => {
      sometimes(() => setImmediate(() => ''.nothing()))
      return push(...args)
    }),
  /** The same where a client asks for another protocol before its last answer has left. */
  pipeline: () =>
    replace(Server, 'emit', emit => (name, ...args) => {
      if (name === 'upgrade' && args[1]._httpMessage) setImmediate(() => ''.nothing())
      return emit(name, ...args)
    }),
  /** Every MQTT connection that goes keeps one of LMDB's readers, and when all are used up nobody reads. */
  readers: () => {
    replace(MqttTransport, '_destroy', destroy => (...args) => {
      gone++
      destroy(...args)
    })
    replace(EmbeddedEnv, 'read', read => work => {
      if (gone > READERS) throw new Error('MDB_READERS_FULL')
      return read(work)
    })
  },
  /** More requests of one connection than anybody needs. */
  requests: () =>
    replace(Server, 'emit', emit => (name, ...args) => {
      if (name === 'request' && countOf(args[0].socket) > MANY) setImmediate(() => ''.nothing())
      return emit(name, ...args)
    }),
  /** More frames than anybody needs, by one who does not log in. */
  frames: () =>
    replace(RequestQueue, 'push', (push, queue) => frame => {
      if (countOf(queue) > MANY) setImmediate(() => ''.nothing())
      push(frame)
    }),
  /** Many pings are worse than many requests. */
  pings: () =>
    replace(WebSocket, 'emit', (emit, ws) => (name, ...args) => {
      if (name === 'ping' && countOf(ws) > MANY) setImmediate(() => ''.nothing())
      return emit(name, ...args)
    }),
  /** Acknowledgements of nothing. */
  acknowledgements: () =>
    replace(PacketGate, 'push', push => (chunk, ...args) => {
      if (chunk[0] >> 4 >= 4 && chunk[0] >> 4 <= 7 && chunk.length > MANY) setImmediate(() => ''.nothing())
      return push(chunk, ...args)
    }),
  /** One filter again and again. */
  filters: () =>
    replace(PacketGate, 'push', push => (chunk, ...args) => {
      if (chunk[0] === 0x82 && chunk.length > MANY) setImmediate(() => ''.nothing())
      return push(chunk, ...args)
    }),
  /** A text one longer than its limit gets no answer. */
  edge: () =>
    replace(RequestQueue, 'push', push => frame => {
      if (!/"(.)\1{320}"/u.test(frame ?? '')) push(frame)
    }),
  /** A frame that gets no answer. */
  silence: () =>
    replace(RequestQueue, 'push', push => frame => {
      if (++calls % EVERY !== 0) push(frame)
    }),
  /** Everybody waits while one frame is looked at. */
  stall: () =>
    replace(RequestQueue, 'push', push => frame => {
      const until = performance.now() + STALL_MS
      if (frame?.includes('are you there?')) while (performance.now() < until);
      push(frame)
    }),
  /** What came over a connection stays when it is gone. */
  leak: () =>
    replace(PacketGate, 'push', push => (...args) => {
      kept.push(Buffer.alloc(LEAKED_BYTES, 1))
      return push(...args)
    }),
})
