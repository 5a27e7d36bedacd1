/** Where the messages between two users are, in the order of their ids. */
import { encoded, type OpenTable, type Table } from './table.js'

/** A message's place: whose log, and where in it. */
export interface Place {
  readonly owner: number
  readonly seq: number
}

/** The two users, lower first, four bytes each; the message's id follows as text. */
const PAIR_BYTES = 8
/** The text form of a UUID (RFC 9562, 4). A bound may be any text. */
const ID_BYTES = 36
/** The owner in four bytes and the seq in six, big endian. */
const PLACE_BYTES = 10

export class Conversations {
  readonly #places: Table<Buffer, Buffer, Buffer>
  /** A key is copied by each call. */
  readonly #key = Buffer.alloc(PAIR_BYTES + ID_BYTES)

  constructor(table: OpenTable) {
    this.#places = table('conversations', 'binary', 'binary')
  }

  /** Bytes that `put` needs of its buffer. */
  static readonly PLACE_BYTES = PLACE_BYTES

  /** @param buffer where to keep the place until it is committed, from `at` on; one for many messages */
  put(a: number, b: number, id: string, place: Place, buffer: Buffer, at: number): void {
    buffer.writeUInt32BE(place.owner, at)
    buffer.writeUIntBE(place.seq, at + 4, 6)
    this.#places.put(this.#keyOf(a, b, id), encoded(buffer.subarray(at, at + PLACE_BYTES)))
  }

  get(a: number, b: number, id: string): Place | undefined {
    const place = this.#places.get(this.#keyOf(a, b, id))
    return place && toPlace(place)
  }

  remove(a: number, b: number, id: string): void {
    this.#places.remove(this.#keyOf(a, b, id))
  }

  /** Newest first, older than `before` where given. */
  *range(a: number, b: number, limit: number, before?: string): Iterable<Place> {
    const end = this.#bound(a, b, Buffer.alloc(0))
    const start = this.#bound(a, b, before === undefined ? Buffer.of(0xff) : Buffer.from(before))
    const bounds = { start, end, reverse: true, exclusiveStart: before !== undefined, limit }
    for (const { value } of this.#places.getRange(bounds)) yield toPlace(value)
  }

  #keyOf(a: number, b: number, id: string): Buffer {
    this.#key.writeUInt32BE(Math.min(a, b), 0)
    this.#key.writeUInt32BE(Math.max(a, b), 4)
    this.#key.write(id, PAIR_BYTES, 'latin1')
    return this.#key
  }

  #bound(a: number, b: number, id: Buffer): Buffer {
    return Buffer.concat([this.#keyOf(a, b, '').subarray(0, PAIR_BYTES), id])
  }
}

const toPlace = (bytes: Buffer): Place => ({ owner: bytes.readUInt32BE(0), seq: bytes.readUIntBE(4, 6) })
