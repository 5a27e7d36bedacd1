/** Floods: thousands of well-formed items of one kind in one input. */
import mqttPacket from 'mqtt-packet'
import type { Random } from '../random.js'
import { CLOSE, frame, PING, PONG, upgradeRequest } from './websocket-wire.js'

/** Requests or packets: more than the gateway accepts of HTTP on one connection, or processes of MQTT in one turn. */
const COUNTS = [1_001, 3_000]
const MANY_KEYS = 5_000
const MANY_FILTERS = [400, 2_000]

/** HTTP requests in one write, sometimes followed by an upgrade, which must wait for all their answers. */
export function pipelinedRequests(random: Random): Buffer {
  const target = random.pick(['/', '/readyz', '/none', '/mqtt'])
  const requests = `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(random.pick(COUNTS))
  return Buffer.concat([Buffer.from(requests), ...(random.chance(0.5) ? [upgradeRequest()] : [])])
}

const ASK = '{"type":"action","action":"query","data":{"email":"nobody@fuzz.example"}}'
const manyKeys = `{${Array.from({ length: MANY_KEYS }, (_, i) => `"k${i}":${i}`).join(',')}}`
const closeFrame = (): Buffer => frame({ opcode: CLOSE, payload: Buffer.of(0x03, 0xe8) })
const repeated = (one: Buffer, count: number): Buffer => Buffer.concat(Array<Buffer>(count).fill(one))

const FRAMES: readonly ((count: number) => Buffer)[] = [
  count => repeated(frame({ payload: ASK }), count),
  () => repeated(frame({ payload: manyKeys }), 20),
  count => repeated(frame({ opcode: PING, payload: 'are you there?' }), count),
  count => repeated(frame({ opcode: PONG }), count),
  // The server must ignore what follows a close frame (RFC 6455, 1.4).
  count => Buffer.concat([closeFrame(), repeated(frame({ payload: ASK }), count)]),
]

/** Frames of a client that never logs in; the last is a close frame. */
export const floodOfFrames = (random: Random): Buffer =>
  Buffer.concat([random.pick(FRAMES)(random.pick(COUNTS)), closeFrame()])

/** Acknowledgements of packets that were never sent, and one filter repeated in one SUBSCRIBE. */
export function floodOfPackets(random: Random, protocolVersion: 4 | 5): Buffer {
  if (random.chance(0.3)) {
    const subscriptions = Array(random.pick(MANY_FILTERS)).fill({ topic: 'open/a', qos: 1 })
    return mqttPacket.generate({ cmd: 'subscribe', messageId: 7, subscriptions }, { protocolVersion })
  }
  const cmd = random.pick(['pubrel', 'puback', 'pubrec', 'pubcomp'] as const)
  const isOne = random.chance(0.3)
  return Buffer.concat(
    Array.from({ length: random.pick(COUNTS) }, (_, i) =>
      mqttPacket.generate({ cmd, messageId: isOne ? 1 : i + 1 }, { protocolVersion }),
    ),
  )
}
