/**
 * Checks MongoDB connection strings more strictly than the driver. If a password contains a reserved character that is
 * not escaped, the driver takes the rest of the password for a host, a port or a database, looks it up and prints it.
 */

/** RFC 3986, 3.2.1: unreserved, percent-encoded or sub-delims, and no character that ends a user name or a password. */
const USER_PART = /^(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*$/
const HOST = /^(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]|[\w.-]*(?:%2[Ff][\w.-]+)+)(?::(\d{1,5}))?$/
const DATABASE = /^(?:[\w~!&'()*+,;=-]|%[0-9A-Fa-f]{2})*$/
/** A name, and a value without characters that must be escaped. */
const OPTION = /^[A-Za-z]+=[^@\s/?#&]*$/

/** @returns the fault of a connection string, without any part of it; undefined if it is valid */
export function mongoUrlFault(url: unknown): string | undefined {
  const [, kind, rest = ''] = (typeof url === 'string' && /^mongodb(\+srv)?:\/\/(.+)$/s.exec(url)) || []
  if (typeof url !== 'string' || rest === '')
    return 'must be a connection string, mongodb://… or mongodb+srv://…'
  const [, authority = '', database = '', query = ''] =
    /^([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(rest) ?? []
  const at = authority.indexOf('@')
  const hosts = authority.slice(at + 1).split(',')
  if (!isUser(authority.slice(0, Math.max(0, at))) || `${hosts}${database}${query}`.includes('@'))
    return 'must have user and password escaped: @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25'
  if (!hosts.every(isHost)) return 'must name hosts as host or host:port, and : / @ of a password escaped'
  if (kind !== undefined && (hosts.length > 1 || authority.slice(at + 1).includes(':')))
    return 'must name one host without a port after mongodb+srv://'
  if (!DATABASE.test(database)) return 'must name a database by letters, digits, _ and -, or none'
  const options = query === '' ? [] : query.split('&')
  if (!options.every(option => OPTION.test(option) && isEncoded(option)))
    return 'must have options as name=value, their values percent-encoded'
  return undefined
}

function isUser(text: string): boolean {
  const parts = text.split(':')
  return parts.length <= 2 && parts.every(part => USER_PART.test(part) && isEncoded(part))
}

function isHost(host: string): boolean {
  const [found, port] = HOST.exec(host) ?? []
  return (
    found !== undefined &&
    isEncoded(host) &&
    (port === undefined || (Number(port) > 0 && Number(port) <= 65_535))
  )
}

const isEncoded = (text: string): boolean => {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}
