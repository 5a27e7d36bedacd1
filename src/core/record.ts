/** Values of the key-value store that are JSON, UTF-8. */

export function encodeRecord(record: object): Uint8Array {
  return Buffer.from(JSON.stringify(record))
}

export function decodeRecord<T>(value: Uint8Array): T {
  return JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString()) as T
}
