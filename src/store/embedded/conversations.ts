/** Where the messages of a conversation are, in the order of their ids. */
import { CONVERSATION_KEY_BYTES, type ConversationId, writeConversationKey } from '../../core/model.js'
import { encoded, type OpenTable, type Table } from './table.js'

/** A message's place: whose log, and where in it. */
export interface Place {
  readonly owner: number
  readonly seq: number
}

/** The text form of a UUID (RFC 9562, 4). A bound of a range may be any text. */
const ID_BYTES = 36
/** The owner in four bytes and the seq in six, big endian. */
const PLACE_BYTES = 10

export class Conversations {
  /** Conversation key, then the message's id as text → place. */
  readonly #places: Table<Buffer, Buffer, Buffer>
  /** lmdb copies a key in each call, so one buffer serves all. */
  readonly #key = Buffer.alloc(CONVERSATION_KEY_BYTES + ID_BYTES)

  constructor(table: OpenTable) {
    this.#places = table('conversations', 'binary', 'binary')
  }

  /** Bytes that `put` needs of its buffer. */
  static readonly PLACE_BYTES = PLACE_BYTES

  /** @param buffer holds the place from `at` on until the commit; one buffer serves many messages */
  put(conversation: ConversationId, id: string, place: Place, buffer: Buffer, at: number): void {
    buffer.writeUInt32BE(place.owner, at)
    buffer.writeUIntBE(place.seq, at + 4, 6)
    this.#places.put(this.#keyOf(conversation, id), encoded(buffer.subarray(at, at + PLACE_BYTES)))
  }

  get(conversation: ConversationId, id: string): Place | undefined {
    const place = this.#places.get(this.#keyOf(conversation, id))
    return place && toPlace(place)
  }

  remove(conversation: ConversationId, id: string): void {
    this.#places.remove(this.#keyOf(conversation, id))
  }

  /** Newest first, older than the message with id `before` if given. */
  *range(conversation: ConversationId, limit: number, before?: string): Iterable<Place> {
    const end = this.#bound(conversation, Buffer.alloc(0))
    const start = this.#bound(conversation, before === undefined ? Buffer.of(0xff) : Buffer.from(before))
    const bounds = { start, end, reverse: true, exclusiveStart: before !== undefined, limit }
    for (const { value } of this.#places.getRange(bounds)) yield toPlace(value)
  }

  /** All entries behind one, in the order of their keys. @param after its key */
  *entries(
    after: Buffer | undefined,
    limit: number,
  ): Generator<Place & { key: Buffer; conversation: string; id: string }> {
    const bounds = { start: after ?? Buffer.of(0), end: Buffer.of(0xff), exclusiveStart: true, limit }
    for (const { key: shared, value } of this.#places.getRange(bounds)) {
      const key = Buffer.from(shared)
      const conversation = `${key.readUInt32BE(0)}:${key.readUInt32BE(4)}`
      yield { key, conversation, id: key.toString('latin1', CONVERSATION_KEY_BYTES), ...toPlace(value) }
    }
  }

  #keyOf(conversation: ConversationId, id: string): Buffer {
    writeConversationKey(conversation, this.#key, 0)
    this.#key.write(id, CONVERSATION_KEY_BYTES, 'latin1')
    return this.#key
  }

  #bound(conversation: ConversationId, id: Buffer): Buffer {
    return Buffer.concat([this.#keyOf(conversation, '').subarray(0, CONVERSATION_KEY_BYTES), id])
  }
}

const toPlace = (bytes: Buffer): Place => ({ owner: bytes.readUInt32BE(0), seq: bytes.readUIntBE(4, 6) })
