/**
 * A record of the journal: what one append stores. Numbers are big endian.
 *
 *     record: <bytes behind the CRC, 4><CRC-32 of them, 4><number, 6><time, ms since the epoch, 6> then its rows
 *     row:    <flags, 1><owner, 4><seq, 6><bytes of the dedup key, 2><bytes of the value, 4><bytes of a text apart, 4>
 *             then those three
 */
import { crc32 } from 'node:zlib'
import { MESSAGE_KINDS } from '../../core/message-kinds.js'
import { type Added, headOf, idOf, type JournalRow, MAX_HEAD_BYTES, partsOf } from './rows.js'

const HEADER = 8
const RECORD_HEAD = 12
const ROW_HEAD = 21

const IN_CONVERSATION = 1
const HAS_KEY = 2
const TEXT_APART = 4

export interface JournalRecord {
  /** 1, 2, 3 … without holes. */
  readonly number: number
  readonly rows: readonly JournalRow[]
}

export interface EncodedRecord extends JournalRecord {
  readonly bytes: Buffer
}

export function encodeRecord(number: number, storedAt: number, added: readonly Added[]): EncodedRecord {
  let most = HEADER + RECORD_HEAD
  for (const { message, bytes } of added)
    most += ROW_HEAD + MAX_HEAD_BYTES + bytes + 3 * (message.dedupKey?.length ?? 0)
  const buffer = Buffer.allocUnsafeSlow(most)
  buffer.writeUIntBE(number, HEADER, 6)
  buffer.writeUIntBE(storedAt, HEADER + 6, 6)
  let at = HEADER + RECORD_HEAD
  const rows = added.map(one => {
    const row = encodeRow(one, storedAt, buffer, at)
    at = row.end
    return row.row
  })
  const bytes = buffer.subarray(0, at)
  bytes.writeUInt32BE(at - HEADER, 0)
  bytes.writeUInt32BE(crc32(bytes.subarray(HEADER)), 4)
  return { number, rows, bytes }
}

function encodeRow({ message, owner, seq, end }: Added, storedAt: number, buffer: Buffer, at: number) {
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
  const value = buffer.subarray(valueAt, valueEnd)
  return { row: { owner, seq, id, conversation, dedupKey, storedAt, value, textApart }, end: rowEnd }
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
    const value = body.subarray(valueAt, textAt)
    const head = value.toString()
    rows.push({
      owner,
      seq,
      id: idOf(head),
      conversation: flags & IN_CONVERSATION ? partsOf(String(owner), head).header?.conversation : undefined,
      dedupKey: flags & HAS_KEY ? body.toString('utf8', keyAt, valueAt) : undefined,
      storedAt,
      value,
      textApart: flags & TEXT_APART ? body.toString('utf8', textAt, end) : undefined,
    })
    at = end
  }
  return rows
}
