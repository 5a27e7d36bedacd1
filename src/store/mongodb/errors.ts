/** Converts errors of the driver to errors of the gateway. */
import { MongoBulkWriteError, MongoError, MongoServerError } from 'mongodb'
import { GatewayError } from '../../core/errors.js'

const DUPLICATE_KEY = 11000
/**
 * error_codes.yml: OutOfDiskSpace, and "quota exceeded". Atlas has no code for a full cluster (it uses 8000 for any
 * error).
 */
const FULL = new Set<unknown>([14031, 12501])
const FULL_TEXT = /space quota|out of disk space|no space left/i

/**
 * The driver's error does not become the cause: it holds the documents that could not be written, and errors are logged
 * with their causes.
 */
export function toStoreError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  const reason = reasonText(thrown)
  const isFull = thrown instanceof MongoServerError && (FULL.has(thrown.code) || FULL_TEXT.test(reason))
  if (thrown instanceof MongoError)
    return new GatewayError(isFull ? 'STORE_FULL' : 'STORE_UNAVAILABLE', { reason })
  return new GatewayError('STORE_UNAVAILABLE', { reason }, thrown)
}

/** The message and code of an error, without the user info of URLs and without the value of a duplicate key. */
export function reasonText(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  const code = thrown instanceof MongoServerError && thrown.code !== undefined ? ` (code ${thrown.code})` : ''
  const text = thrown.message.replace(/:\/\/[^\s/]*@/g, '://***@').replace(/ dup key: .*/s, '')
  return `${text}${code}`
}

/** Whether a single write was refused because its key exists. */
export function isDuplicate(thrown: unknown): boolean {
  return thrown instanceof MongoServerError && thrown.code === DUPLICATE_KEY
}

/**
 * How many documents an ordered insert stored before it was refused by an existing key. Undefined for any other error,
 * after which any number of them may be stored, or may still be stored later.
 */
export function insertedBefore(thrown: unknown): number | undefined {
  if (!(thrown instanceof MongoBulkWriteError) || thrown.result.getWriteConcernError() !== undefined)
    return undefined
  const [first] = [thrown.writeErrors].flat()
  // Not insertedCount, in which mongo-java-server includes the refused document.
  return first?.code === DUPLICATE_KEY ? first.index : undefined
}

/** `text` with every value that the URL contains (user, password, options) replaced by `…`. */
export function withoutSecrets(text: string, url: string): string {
  const rest = url.replace(/^\w+(\+srv)?:\/\//, '')
  const userInfo = rest.slice(0, Math.max(0, rest.lastIndexOf('@')))
  const query = rest.slice(rest.indexOf('?') + 1)
  const options = rest.includes('?')
    ? query.split('&').map(option => option.slice(option.indexOf('=') + 1))
    : []
  const values = [url, userInfo, ...userInfo.split(':'), ...options].flatMap(value => [value, decoded(value)])
  const longestFirst = values.filter(value => value.length > 2).sort((a, b) => b.length - a.length)
  return longestFirst.reduce((left, value) => left.replaceAll(value, '…'), text)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
