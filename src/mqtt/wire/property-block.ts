/**
 * Blocks of properties as bytes, without the length before them: made from values, and passed on from a publisher to
 * subscribers as the bytes that came. What is passed on must have been read by `readProperties` once.
 */
import { writeText } from '../../core/write-text.js'
import {
  type Form,
  PROPERTIES,
  type Properties,
  type PropertyRow,
  type PropertyValue,
} from './property-table.js'

export const EMPTY_BLOCK: Buffer = Buffer.alloc(0)

const MESSAGE_EXPIRY_INTERVAL = 2
const SUBSCRIPTION_IDENTIFIER = 11
const WILL_DELAY_INTERVAL = 24
const TOPIC_ALIAS = 35

/** Bytes of a variable byte integer. */
export const varintBytes = (value: number): number =>
  value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4

/** @returns where the next field begins */
export function writeVarint(target: Buffer, value: number, at: number): number {
  let rest = value
  for (; rest > 0x7f; rest >>>= 7) target[at++] = (rest & 0x7f) | 0x80
  target[at++] = rest
  return at
}

const textBytes = (text: string): number => 2 + Buffer.byteLength(text)

/** Bytes of a value behind its identifier. */
function valueBytes(form: Form, value: PropertyValue): number {
  switch (form) {
    case 'flag':
      return 1
    case 'uint16':
      return 2
    case 'uint32':
      return 4
    case 'varint':
      return varintBytes(value as number)
    case 'data':
      return 2 + (value as Uint8Array).length
    case 'text':
      return textBytes(value as string)
    case 'pair': {
      const [name, text] = value as readonly string[]
      return textBytes(name as string) + textBytes(text as string)
    }
  }
}

function writeField(target: Buffer, data: string | Uint8Array, at: number): number {
  const length = Buffer.byteLength(data)
  const start = target.writeUInt16BE(length, at)
  if (typeof data === 'string') writeText(target, data, length, start)
  else target.set(data, start)
  return start + length
}

function writeValue(target: Buffer, form: Form, value: PropertyValue, at: number): number {
  switch (form) {
    case 'flag':
      return target.writeUInt8(value as number, at)
    case 'uint16':
      return target.writeUInt16BE(value as number, at)
    case 'uint32':
      return target.writeUInt32BE(value as number, at)
    case 'varint':
      return writeVarint(target, value as number, at)
    case 'data':
    case 'text':
      return writeField(target, value as string | Uint8Array, at)
    case 'pair': {
      const [name, text] = value as readonly string[]
      return writeField(target, text as string, writeField(target, name as string, at))
    }
  }
}

type Entry = readonly [row: PropertyRow, value: PropertyValue]

const ROWS_BY_NAME: ReadonlyMap<string, PropertyRow> = new Map(
  Array.from(PROPERTIES.values(), row => [row.name, row]),
)

/** One entry for each property that is written, in the order of the object's members. */
function entriesOf(properties: Properties): Entry[] {
  const entries: Entry[] = []
  for (const [name, value] of Object.entries(properties)) {
    const row = ROWS_BY_NAME.get(name)
    if (row === undefined || value === undefined) continue
    if (row.form === 'pair') for (const pair of value) entries.push([row, pair])
    else entries.push([row, value])
  }
  return entries
}

export function encodeProperties(properties: Properties): Buffer {
  const entries = entriesOf(properties)
  let size = 0
  for (const [{ form }, value] of entries) size += 1 + valueBytes(form, value)
  if (size === 0) return EMPTY_BLOCK
  const block = Buffer.allocUnsafe(size)
  let at = 0
  for (const [{ id, form }, value] of entries) {
    block[at] = id
    at = writeValue(block, form, value, at + 1)
  }
  return block
}

/** @returns where the value that begins at `at` ends */
function valueEnd(block: Buffer, form: Form, at: number): number {
  switch (form) {
    case 'flag':
      return at + 1
    case 'uint16':
      return at + 2
    case 'uint32':
      return at + 4
    case 'varint': {
      let end = at
      while (block.readUInt8(end) > 0x7f) end++
      return end + 1
    }
    case 'text':
    case 'data':
      return at + 2 + block.readUInt16BE(at)
    case 'pair':
      return valueEnd(block, 'text', valueEnd(block, 'text', at))
  }
}

interface Place {
  /** Of the identifier. */
  readonly at: number
  readonly end: number
}

/** Where the first property with this identifier stands in a block. */
function find(block: Buffer, wanted: number): Place | undefined {
  for (let at = 0; at < block.length; ) {
    const id = block.readUInt8(at)
    const end = valueEnd(block, (PROPERTIES.get(id) as PropertyRow).form, at + 1)
    if (id === wanted) return { at, end }
    at = end
  }
  return undefined
}

function without(block: Buffer, id: number): Buffer {
  const place = find(block, id)
  return place === undefined ? block : Buffer.concat([block.subarray(0, place.at), block.subarray(place.end)])
}

/**
 * What is passed on of a PUBLISH's or a will's block: all but the topic alias and the delay, which are for the server.
 * @returns the block itself where it has neither
 */
export const passedOn = (block: Buffer, { topicAlias, willDelayInterval }: Properties): Buffer => {
  const rest = topicAlias === undefined ? block : without(block, TOPIC_ALIAS)
  return willDelayInterval === undefined ? rest : without(rest, WILL_DELAY_INTERVAL)
}

const NO_IDENTIFIERS: readonly number[] = []

/** What one subscriber's PUBLISH says besides what its publisher said. */
export interface Forwarding {
  /** What is left of the message expiry interval, s [MQTT-3.3.2-6]; undefined where the block has none. */
  readonly expirySeconds?: number | undefined
  /** Of all subscriptions that match [MQTT-3.3.4-4]. */
  readonly subscriptionIdentifiers?: readonly number[] | undefined
  readonly topicAlias?: number | undefined
}

/** @param from from `passedOn`, or as latin1 text @returns itself where there is nothing to change */
export function forwardedBlock<From extends Buffer | string>(
  from: From,
  forwarding: Forwarding,
): From | Buffer {
  const { expirySeconds, subscriptionIdentifiers = NO_IDENTIFIERS, topicAlias } = forwarding
  if (expirySeconds === undefined && subscriptionIdentifiers.length === 0 && topicAlias === undefined)
    return from
  const block: Buffer = typeof from === 'string' ? Buffer.from(from, 'latin1') : from
  const added = subscriptionIdentifiers.reduce((size, one) => size + 1 + varintBytes(one), 0)
  const forwarded = Buffer.allocUnsafe(block.length + added + (topicAlias === undefined ? 0 : 3))
  block.copy(forwarded)
  if (expirySeconds !== undefined) setExpiry(forwarded.subarray(0, block.length), expirySeconds)
  let at = block.length
  for (const identifier of subscriptionIdentifiers) {
    forwarded[at] = SUBSCRIPTION_IDENTIFIER
    at = writeVarint(forwarded, identifier, at + 1)
  }
  if (topicAlias !== undefined) {
    forwarded[at] = TOPIC_ALIAS
    forwarded.writeUInt16BE(topicAlias, at + 1)
  }
  return forwarded
}

function setExpiry(block: Buffer, seconds: number): void {
  const place = find(block, MESSAGE_EXPIRY_INTERVAL)
  if (place !== undefined) block.writeUInt32BE(seconds, place.at + 1)
}
