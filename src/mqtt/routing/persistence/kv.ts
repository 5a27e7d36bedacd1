/**
 * The part of a store that the broker's persistence uses, and the encoding of its values: packets and small JSON
 * records.
 */
import { GatewayError } from '../../../core/errors.js'
import { decodeRecord } from '../../../core/record.js'
import type { KeyValue, KvCollection, KvKey, KvValue, KvWrite } from '../../../store/store.js'

export type KvStore = KeyValue

/** The fields that are stored of packets, and used of those that the contract of aedes-persistence brings. */
export interface BrokerPacket {
  cmd?: string
  /**
   * The broker that published the packet. With `brokerCounter` it identifies a packet, and the copies of it.
   */
  brokerId?: string | undefined
  brokerCounter?: number | undefined
  /** The client that published the packet, or whose will it is. */
  clientId?: string
  /** For a retained message: the account that published it. */
  owner?: string
  /** For a will: the id of the stored login with which its client connected. */
  session?: string
  topic?: string
  payload?: Buffer | string
  qos?: number
  retain?: boolean
  dup?: boolean
  messageId?: number | undefined
  /** Set when the packet is queued; see OutgoingQueue. */
  queued?: Queued
  /** Properties of MQTT 5, as bytes. */
  block?: Uint8Array | undefined
  /** ms since the epoch: the packet is not delivered any more. */
  expiresAt?: number | undefined
  /** The shared subscription that the packet is queued for. */
  share?: string | undefined
  /** Of a will: its delay, s; and when it is to be published, ms since the epoch. */
  delaySeconds?: number
  dueAt?: number
}

/** The rows of one queued packet, one for each session. */
export interface Queued {
  /** The row number, the same in the queue of each session. */
  readonly n: number
  /** Bytes of the row by client id. */
  readonly sizes: ReadonlyMap<string, number>
}

/** The fields that are used of a client. Some callers pass only `{ id }`. */
export interface ClientRef {
  readonly id: string
  readonly clean?: boolean
  readonly closed?: boolean
  /** Whether CONNECT was accepted. */
  readonly _authorized?: boolean
}

/** Identifies a packet: equal for all its copies, and different for every other packet. */
export const packetKey = ({ brokerId, brokerCounter }: BrokerPacket): string => `${brokerCounter} ${brokerId}`

/** Removals per commit when a whole session is removed. */
const REMOVALS_PER_WRITE = 1000

const HEADER_BYTES = 7
const LENGTH_BYTES = 4
const PAYLOAD_BYTES = 1
const PAYLOAD_TEXT = 2
const HAS_MESSAGE_ID = 4
const HAS_BLOCK = 8

/**
 * Layout: flags (1 byte), messageId (2 bytes), length of the head (4 bytes), all big endian; then the head: JSON of all
 * fields except messageId, block and payload; then, if there is one, the block behind its length (4 bytes); then the
 * payload. A packet without a payload is a PUBREL. What a packet takes counts for limits, so that the bytes are as they came.
 */
export function encodePacket(packet: BrokerPacket): KvValue {
  const { payload, messageId, block, ...fields } = packet
  const head = JSON.stringify(fields)
  const headBytes = Buffer.byteLength(head)
  const body = typeof payload === 'string' ? Buffer.from(payload) : payload
  const blockBytes = block?.length ? LENGTH_BYTES + block.length : 0
  const value = Buffer.allocUnsafe(HEADER_BYTES + headBytes + blockBytes + (body?.byteLength ?? 0))
  let flags = body === undefined ? 0 : PAYLOAD_BYTES
  if (typeof payload === 'string') flags = PAYLOAD_TEXT
  if (blockBytes > 0) flags |= HAS_BLOCK
  value.writeUInt8(messageId === undefined ? flags : flags | HAS_MESSAGE_ID, 0)
  value.writeUInt16BE(messageId ?? 0, 1)
  value.writeUInt32BE(headBytes, 3)
  value.write(head, HEADER_BYTES)
  const blockAt = HEADER_BYTES + headBytes
  if (block?.length) value.set(block, value.writeUInt32BE(block.length, blockAt))
  if (body !== undefined) value.set(body, blockAt + blockBytes)
  return value
}

export function decodePacket(value: KvValue): BrokerPacket {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  const flags = bytes.readUInt8(0)
  const headEnd = HEADER_BYTES + bytes.readUInt32BE(3)
  const packet = JSON.parse(bytes.toString('utf8', HEADER_BYTES, headEnd)) as BrokerPacket
  const blockAt = flags & HAS_BLOCK ? headEnd + LENGTH_BYTES : headEnd
  const bodyStart = flags & HAS_BLOCK ? blockAt + bytes.readUInt32BE(headEnd) : headEnd
  if (flags & HAS_BLOCK) packet.block = bytes.subarray(blockAt, bodyStart)
  if (flags & PAYLOAD_BYTES) packet.payload = bytes.subarray(bodyStart)
  if (flags & PAYLOAD_TEXT) packet.payload = bytes.toString('utf8', bodyStart)
  if (flags & HAS_MESSAGE_ID) packet.messageId = bytes.readUInt16BE(1)
  return packet
}

/** Reads the messageId and the kind of an encoded packet without decoding its head. */
export function peekPacket(value: KvValue): { messageId: number | undefined; isReleased: boolean } {
  const [flags = 0, high = 0, low = 0] = value
  return {
    messageId: flags & HAS_MESSAGE_ID ? high * 256 + low : undefined,
    isReleased: (flags & (PAYLOAD_BYTES | PAYLOAD_TEXT)) === 0,
  }
}

/** A new PUBLISH object with exactly the fields that the contract of aedes-persistence compares, and those of MQTT 5 that it has. */
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
    ...(packet.block?.length ? { block: packet.block } : {}),
    ...(packet.expiresAt === undefined ? {} : { expiresAt: packet.expiresAt }),
    ...(packet.share === undefined ? {} : { share: packet.share }),
  }
}

/** Called for a row that cannot be read and is passed over. */
export type OnDamaged = (collection: KvCollection, key: KvKey) => void

/** @returns the packet of a row of `queue` or `retained`; undefined if it has none */
export function packetOf(value: KvValue): BrokerPacket | undefined {
  try {
    const packet = decodePacket(value)
    const isMessage = typeof packet.topic === 'string' && packet.payload !== undefined
    return isMessage || packet.cmd === 'pubrel' ? packet : undefined
  } catch {
    return undefined
  }
}

/** For `mumi verify`. @returns whether the gateway can read a row; true for collections that are not the broker's */
export function isReadable(collection: KvCollection, value: KvValue): boolean {
  if (collection === 'queue' || collection === 'retained') return packetOf(value) !== undefined
  if (collection !== 'wills' && collection !== 'subscriptions') return true
  try {
    const row: unknown = collection === 'wills' ? decodePacket(value) : decodeRecord(value)
    return typeof row === 'object' && row !== null
  } catch {
    return false
  }
}

/**
 * For reads at the start, where one damaged row keeps the gateway from starting: the operator has to know which.
 * @throws GatewayError STORE_UNAVAILABLE that names the row, and holds nothing of its value
 */
export function readRow<T extends object>(
  collection: KvCollection,
  { key, value }: { readonly key: KvKey; readonly value: KvValue },
  decode: (value: KvValue) => T,
): T {
  try {
    const row: unknown = decode(value)
    if (typeof row === 'object' && row !== null) return row as T
  } catch {
    // What it throws quotes the value.
  }
  const reason = `the store's row ${JSON.stringify(key)} of ${collection} is damaged: it cannot be read; put a backup in place of the store`
  throw new GatewayError('STORE_UNAVAILABLE', { reason })
}

/** Removes every entry under `prefix` for which `isChosen` is true, REMOVALS_PER_WRITE per commit. */
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
