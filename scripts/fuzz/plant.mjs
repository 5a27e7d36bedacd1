/** Faults of which the fuzzer must find each one. */
import { Server } from 'node:http'
import { PacketGate } from '../../dist/broker/packet-gate.js'
import { MqttTransport } from '../../dist/broker/transport.js'
import { RequestQueue } from '../../dist/ws/request-queue.js'
import { plant, replace } from '../plant.mjs'

const EVERY = 40
const STALL_MS = 150
const LEAKED_BYTES = 2 ** 18
const kept = []
const SLOTS = 900
let calls = 0
let gone = 0

const sometimes = fault => {
  if (++calls % EVERY === 0) fault()
}

plant({
  /** An error where nobody catches it, in the middle of a packet. */
  crash: () =>
    replace(PacketGate, 'push', push => (...args) => {
      sometimes(() => setImmediate(() => ''.nothing()))
      push(...args)
    }),
  /** The same where a client asks for another protocol before its last answer has left. */
  pipeline: () =>
    replace(Server, 'emit', emit => (name, ...args) => {
      if (name === 'upgrade' && args[1]._httpMessage) setImmediate(() => ''.nothing())
      return emit(name, ...args)
    }),
  /** Every connection that goes takes something with it, and when that is used up nobody is answered. */
  slots: () => {
    replace(MqttTransport, '_destroy', destroy => (...args) => {
      gone++
      destroy(...args)
    })
    replace(RequestQueue, 'push', push => frame => {
      if (gone < SLOTS) push(frame)
    })
  },
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
      push(...args)
    }),
})
