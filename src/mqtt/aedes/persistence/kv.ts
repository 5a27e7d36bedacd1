/** What the broker's persistence needs of a store, and the values it keeps there: packets and small JSON records. */
import type { KeyValue, KvCollection, KvKey, KvValue, KvWrite } from '../../../store/store.js'

export type KvStore = KeyValue

/** The fields used of what Aedes hands over: packets of mqtt-packet, of aedes-packet, and plain objects. */
export interface BrokerPacket {
  cmd?: string
  /** The broker that published the packet, and its number there: they name a packet that Aedes has copied. */
  brokerId?: string | undefined
  brokerCounter?: number | undefined
  /** Client that published it, or that left it as its will. */
  clientId?: string
  /** Of a retained message: the account that published it. */
  owner?: string
  /** Of a will: the stored session whose login let its client in. */
  session?: string
  topic?: string
  payload?: Buffer | string
  qos?: number
  retain?: boolean
  dup?: boolean
  messageId?: number | undefined
  /** Set where the packet is queued; see OutgoingQueue. */
  queued?: Queued
}

/** The rows that hold one packet, one for each session. */
export interface Queued {
  /** The same number in each session's queue. */
  readonly n: number
  /** Bytes of the row, by client id. */
  readonly sizes: ReadonlyMap<string, number>
}

/** The fields used of an Aedes `Client`. Some calls carry only `{ id }`. */
export interface ClientRef {
  readonly id: string
  readonly clean?: boolean
  readonly closed?: boolean
  /** Whether CONNECT was let in. */
  readonly _authorized?: boolean
}

/** The same for all copies of a packet, and for no other packet. */
export const packetKey = ({ brokerId, brokerCounter }: BrokerPacket): string => `${brokerCounter} ${brokerId}`

/** Removals a commit, where a whole session goes at once. */
const REMOVALS_PER_WRITE = 1000

const HEADER_BYTES = 7
const PAYLOAD_BYTES = 1
const PAYLOAD_TEXT = 2
const HAS_MESSAGE_ID = 4

/**
 * Flags (1 byte), messageId (2), length of the head (4), all big endian; the head: every field but those two as
 * JSON; the payload as it is. A packet without payload is no PUBLISH but what remains of one: a PUBREL.
 */
export function encodePacket(packet: BrokerPacket): KvValue {
  const { payload, messageId, ...fields } = packet
  const head = JSON.stringify(fields)
  const headBytes = Buffer.byteLength(head)
  const body = typeof payload === 'string' ? Buffer.from(payload) : payload
  const value = Buffer.allocUnsafe(HEADER_BYTES + headBytes + (body?.byteLength ?? 0))
  let flags = body === undefined ? 0 : PAYLOAD_BYTES
  if (typeof payload === 'string') flags = PAYLOAD_TEXT
  value.writeUInt8(messageId === undefined ? flags : flags | HAS_MESSAGE_ID, 0)
  value.writeUInt16BE(messageId ?? 0, 1)
  value.writeUInt32BE(headBytes, 3)
  value.write(head, HEADER_BYTES)
  if (body !== undefined) value.set(body, HEADER_BYTES + headBytes)
  return value
}

export function decodePacket(value: KvValue): BrokerPacket {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  const flags = bytes.readUInt8(0)
  const bodyStart = HEADER_BYTES + bytes.readUInt32BE(3)
  const packet = JSON.parse(bytes.toString('utf8', HEADER_BYTES, bodyStart)) as BrokerPacket
  if (flags & PAYLOAD_BYTES) packet.payload = bytes.subarray(bodyStart)
  if (flags & PAYLOAD_TEXT) packet.payload = bytes.toString('utf8', bodyStart)
  if (flags & HAS_MESSAGE_ID) packet.messageId = bytes.readUInt16BE(1)
  return packet
}

/** What the queue's index needs of an encoded packet, without reading its head. */
export function peekPacket(value: KvValue): { messageId: number | undefined; isReleased: boolean } {
  const [flags = 0, high = 0, low = 0] = value
  return {
    messageId: flags & HAS_MESSAGE_ID ? high * 256 + low : undefined,
    isReleased: (flags & (PAYLOAD_BYTES | PAYLOAD_TEXT)) === 0,
  }
}

/** A PUBLISH with exactly the fields that Aedes' own Packet has, in a new object. */
export function publishFields(packet: BrokerPacket): BrokerPacket {
  return {
    ...(packet.clientId === undefined ? {} : { clientId: packet.clientId }),
    cmd: 'publish',
    brokerId: packet.brokerId,
    brokerCounter: packet.brokerCounter,
    topic: packet.topic ?? '',
    payload: packet.payload ?? Buffer.alloc(0),
    qos: packet.qos ?? 0,
    retain: packet.retain ?? false,
    dup: packet.dup ?? false,
    messageId: packet.messageId,
  }
}

export function encodeRecord(record: object): KvValue {
  return Buffer.from(JSON.stringify(record))
}

export function decodeRecord<T>(value: KvValue): T {
  return JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString()) as T
}

/** Removes every entry under `prefix` that `isChosen`, some at a time. */
export async function removeUnder(
  kv: KvStore,
  collection: KvCollection,
  prefix: KvKey,
  isChosen: (key: KvKey) => boolean = () => true,
): Promise<void> {
  let removals: KvWrite[] = []
  for await (const { key } of kv.kvRange(collection, prefix)) {
    if (!isChosen(key)) continue
    removals.push({ remove: collection, key })
    if (removals.length < REMOVALS_PER_WRITE) continue
    await kv.kvWrite(removals)
    removals = []
  }
  if (removals.length > 0) await kv.kvWrite(removals)
}
