import type { EventEmitter } from 'node:events'
import mqttPacket, { type Packet } from 'mqtt-packet'
import type { MalformedPacket } from '../../src/mqtt/wire/packet-rules.js'
import type { TransportOptions } from '../../src/mqtt/wire/transport.js'
import { WriteGroup } from '../../src/mqtt/wire/write-group.js'

/** For tests of the MQTT transport. */
export const MB = 1_048_576

/** Events of a transport. */
export interface Seen {
  readonly malformed: MalformedPacket[]
  stalled: number
}

export function options(seen: Seen, changes: Partial<TransportOptions> = {}): TransportOptions {
  return {
    group: new WriteGroup(600_000),
    maxPacketBytes: 8 * MB,
    maxTopicBytes: 1_000,
    maxTopicLevels: 10,
    maxClientIdBytes: 100,
    maxWillBytes: 1_000,
    keepaliveLimitSeconds: 0,
    maxSubscriptions: 100,
    maxBufferedBytes: MB,
    onMalformed: error => seen.malformed.push(error),
    onStalled: () => seen.stalled++,
    ...changes,
  }
}

export const nothingSeen = (): Seen => ({ malformed: [], stalled: 0 })

/** Like events.once, but ignores an error before the event. */
export const closeOf = (stream: EventEmitter) => new Promise(resolve => stream.once('close', resolve))

export const bytesOf = (...packets: Packet[]): Buffer =>
  Buffer.concat(packets.map(packet => mqttPacket.generate(packet)))
export const CONNECT = bytesOf({ cmd: 'connect', clientId: 'raw', clean: true, keepalive: 0 })
export const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
