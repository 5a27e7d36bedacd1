/** Faults of which the fuzzer must find each one. */
import { PacketGate } from '../../dist/broker/packet-gate.js'
import { RequestQueue } from '../../dist/ws/request-queue.js'
import { plant, replace } from '../plant.mjs'

const EVERY = 40
const STALL_MS = 150
const LEAKED_BYTES = 2 ** 18
const kept = []
let calls = 0

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
