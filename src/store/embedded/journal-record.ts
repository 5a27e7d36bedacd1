/**
 * A record of the journal: what one append stores. Numbers are big endian.
 *
 *     record: <bytes behind the CRC, 4><CRC-32 of them, 4><number, 6><time, ms since the epoch, 6> then its rows
 *     row:    <flags, 1><owner, 4><seq, 6><bytes of the dedup key, 2><bytes of the value, 4><bytes of a text apart, 4>
 *             then those three
 */
import { crc32 } from 'node:zlib'
import { MESSAGE_KINDS } from '../../core/message-kinds.js'
import { type Added, headOf, idOf, JournalRow, MAX_HEAD_BYTES, partsOf } from './rows.js'

const HEADER = 8
const RECORD_HEAD = 12
const ROW_HEAD = 21

const IN_CONVERSATION = 1
const HAS_KEY = 2
const TEXT_APART = 4

/** Two hundred records of one short message, about. */
const ROOM_BYTES = 65_536

export interface JournalRecord {
  /** 1, 2, 3 … without holes. */
  readonly number: number
  readonly rows: readonly JournalRow[]
}

/** A record, and what is to be written of it. */
export interface EncodedRecord {
  readonly record: JournalRecord
  readonly bytes: Buffer
}

/** Room for many records in one buffer: a buffer for each would be the largest part of what a waiting row keeps alive. */
export class RecordRoom {
  #buffer = Buffer.alloc(0)
  #used = 0

  /** @returns a buffer that has `most` bytes from `at` on */
  for(most: number): { readonly buffer: Buffer; readonly at: number } {
    if (most > ROOM_BYTES / 4) return { buffer: Buffer.allocUnsafeSlow(most), at: 0 }
    if (this.#used + most > this.#buffer.length) {
      this.#buffer = Buffer.allocUnsafeSlow(ROOM_BYTES)
      this.#used = 0
    }
    return { buffer: this.#buffer, at: this.#used }
  }

  /** What `for` gave last was used up to `end`. */
  use(buffer: Buffer, end: number): void {
    if (buffer === this.#buffer) this.#used = end
  }
}

export function encodeRecord(
  number: number,
  storedAt: number,
  added: readonly Added[],
  room: RecordRoom,
): EncodedRecord {
  let most = HEADER + RECORD_HEAD
  for (const { message, bytes } of added)
    most += ROW_HEAD + MAX_HEAD_BYTES + bytes + 3 * (message.dedupKey?.length ?? 0)
  const { buffer, at: start } = room.for(most)
  buffer.writeUIntBE(number, start + HEADER, 6)
  buffer.writeUIntBE(storedAt, start + HEADER + 6, 6)
  let at = start + HEADER + RECORD_HEAD
  const rows: JournalRow[] = []
  for (const one of added) at = encodeRow(one, storedAt, buffer, at, rows)
  room.use(buffer, at)
  const bytes = buffer.subarray(start, at)
  bytes.writeUInt32BE(at - start - HEADER, 0)
  bytes.writeUInt32BE(crc32(bytes.subarray(HEADER)), 4)
  return { record: { number, rows }, bytes }
}

/** Adds the row to `rows`. @returns where the next one begins */
function encodeRow(
  { message, owner, seq, end }: Added,
  storedAt: number,
  buffer: Buffer,
  at: number,
  rows: JournalRow[],
): number {
  const { id, kind, text, conversation, dedupKey } = message
  const textApart = MESSAGE_KINDS[kind].isShared ? text : undefined
  const keyAt = at + ROW_HEAD
  const valueAt = keyAt + (dedupKey === undefined ? 0 : buffer.write(dedupKey, keyAt))
  let valueEnd = valueAt + buffer.write(headOf(message, end), valueAt, 'latin1')
  if (textApart === undefined) valueEnd += buffer.write(text, valueEnd)
  const rowEnd = valueEnd + (textApart === undefined ? 0 : buffer.write(textApart, valueEnd))
  buffer[at] =
    (conversation === undefined ? 0 : IN_CONVERSATION) |
    (dedupKey === undefined ? 0 : HAS_KEY) |
    (textApart === undefined ? 0 : TEXT_APART)
  buffer.writeUInt32BE(owner, at + 1)
  buffer.writeUIntBE(seq, at + 5, 6)
  buffer.writeUInt16BE(valueAt - keyAt, at + 11)
  buffer.writeUInt32BE(valueEnd - valueAt, at + 13)
  buffer.writeUInt32BE(rowEnd - valueEnd, at + 17)
  rows.push(
    new JournalRow(owner, seq, id, conversation, dedupKey, storedAt, buffer, valueAt, valueEnd, textApart),
  )
  return rowEnd
}

/** A record has all its bytes, and they are not those that were written. */
export class DamagedRecord extends Error {}

/**
 * The records from `at` on, up to the first that is not whole: a process or the system died while it was written.
 * @param isWritten all bytes there are were written, since the system was not started anew. @throws DamagedRecord
 */
export function decodeRecords(bytes: Buffer, at: number, isWritten = false): JournalRecord[] {
  const records: JournalRecord[] = []
  for (let start = at; start + HEADER + RECORD_HEAD <= bytes.length; ) {
    const end = start + HEADER + bytes.readUInt32BE(start)
    if (end > bytes.length || end < start + HEADER + RECORD_HEAD) break
    const body = bytes.subarray(start + HEADER, end)
    if (crc32(body) !== bytes.readUInt32BE(start + 4)) {
      if (isWritten) throw new DamagedRecord(`the record at byte ${start} is damaged`)
      break
    }
    records.push({ number: body.readUIntBE(0, 6), rows: decodeRows(body, body.readUIntBE(6, 6)) })
    start = end
  }
  return records
}

function decodeRows(body: Buffer, storedAt: number): JournalRow[] {
  const rows: JournalRow[] = []
  for (let at = RECORD_HEAD; at < body.length; ) {
    const flags = body[at] ?? 0
    const owner = body.readUInt32BE(at + 1)
    const seq = body.readUIntBE(at + 5, 6)
    const keyAt = at + ROW_HEAD
    const valueAt = keyAt + body.readUInt16BE(at + 11)
    const textAt = valueAt + body.readUInt32BE(at + 13)
    const end = textAt + body.readUInt32BE(at + 17)
    const head = body.toString('utf8', valueAt, textAt)
    const inConversation = (flags & IN_CONVERSATION) !== 0
    rows.push(
      new JournalRow(
        owner,
        seq,
        idOf(head),
        inConversation ? partsOf(String(owner), head).header?.conversation : undefined,
        flags & HAS_KEY ? body.toString('utf8', keyAt, valueAt) : undefined,
        storedAt,
        body,
        valueAt,
        textAt,
        flags & TEXT_APART ? body.toString('utf8', textAt, end) : undefined,
      ),
    )
    at = end
  }
  return rows
}
