/**
 * The formats of config keys. convict's own formats are not used, since they convert '80a' to 80 and 'no' to true. A
 * text that cannot be parsed is left as it is, so that the validation can report it.
 */
import { isIP } from 'node:net'
import convict from 'convict'
import { isUserId, type Role } from '../core/model.js'
import { filterFault } from '../core/topic-filter.js'
import type { Acl } from '../mqtt/acl/access.js'
import { mongoUrlFault } from './mongodb-url.js'

const ROLES: readonly Role[] = ['admin', 'user', 'device']

/** Inclusive bounds of a key, as an operator writes values: '10ms', '64KiB'. */
interface Bounds {
  readonly min?: string | number | undefined
  readonly max?: string | number | undefined
}

/** A config key. `T` is the type of its parsed value. */
export interface Key<T> extends Bounds {
  readonly doc: string
  readonly format: string | readonly string[]
  readonly default: unknown
  /** Whether the value is a secret, which `mumi config` masks. */
  readonly sensitive?: boolean
  /** Carries `T` for the compiler; never set. */
  readonly parsed?: T
}

/** setTimeout accepts at most 2^31 - 1 ms, which is a little more than this. */
export const TIMER = { max: '24d' }

const key =
  <T>(format: string) =>
  (value: unknown, doc: string): Key<T> => ({ doc, format, default: value })
const bounded =
  (format: string) =>
  (value: string | number, bounds: Bounds, doc: string): Key<number> => ({
    doc,
    format,
    default: value,
    ...bounds,
  })

export const flag = key<boolean>('flag')
export const text = key<string>('text')
export const path = key<string>('path')
export const port = key<number>('port')
export const file = key<string>('file')
export const addresses = key<readonly string[]>('addresses')
export const origins = key<readonly string[]>('origins')
/** Media types. */
export const types = key<readonly string[]>('media types')
export const acl = key<Acl>('acl')
export const mongoUrl = (value: string, doc: string): Key<string> => ({
  ...key<string>('mongodb-url')(value, doc),
  sensitive: true,
})
export const optional = key<string>('optional')
/** A URL whose query may hold a key, or a key. */
export const secretUrl = (value: string, doc: string): Key<string> => ({
  ...key<string>('optional')(value, doc),
  sensitive: true,
})
export const texts = key<readonly string[]>('texts')
export const secret = secretUrl
export const userIds = key<readonly string[]>('user ids')
export const count = bounded('count')
export const bytes = bounded('bytes')
export const duration = bounded('duration')
export const choice = <T extends string>(value: T, choices: readonly T[], doc: string): Key<T> => ({
  doc,
  format: choices,
  default: value,
})

const NUMBER = new Map([['', 1]])
const DURATION = new Map([
  ['', 1],
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])
const BYTES = new Map([
  ['', 1],
  ['B', 1],
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
])

function toNumber(units: ReadonlyMap<string, number>, value: unknown): unknown {
  const [, digits, unit = ''] = /^(\d+) ?([a-zA-Z]*)$/.exec(String(value)) ?? []
  const factor = units.get(unit)
  return digits === undefined || factor === undefined ? value : Number(digits) * factor
}

/** An integer within the key's bounds, written in one of `units`. */
function quantity(units: ReadonlyMap<string, number>, what: string, top?: number) {
  return {
    coerce: (value: unknown) => toNumber(units, value),
    validate(value: unknown, { min = 0, max = top }: convict.SchemaObj) {
      const highest = max === undefined ? Number.MAX_SAFE_INTEGER : Number(toNumber(units, max))
      const inRange = Number(value) >= Number(toNumber(units, min)) && Number(value) <= highest
      const range = max === undefined ? `at least ${min}` : `${min} to ${max}`
      if (!Number.isSafeInteger(value) || !inRange) throw new Error(`must be ${what}, ${range}`)
    },
  }
}

const FLAGS = new Map<unknown, boolean>([
  ['true', true],
  ['false', false],
])

function checkText(value: unknown): void {
  if (typeof value !== 'string' || value === '' || value.includes('\0'))
    throw new Error('must be text, not empty')
}

function checkPath(value: unknown): void {
  if (typeof value !== 'string' || !/^\/[\w./~-]+$/.test(value)) {
    throw new Error('must be a URL path that begins with / and goes on')
  }
}

function checkMongoUrl(value: unknown): void {
  const fault = mongoUrlFault(value)
  if (fault !== undefined) throw new Error(fault)
}

function checkFile(value: unknown): void {
  if (typeof value !== 'string' || value.includes('\0')) throw new Error('must be a path, or empty')
}

/** In the environment and on the command line a list is comma-separated or JSON. */
function parseList(value: unknown): unknown {
  if (typeof value !== 'string') return value
  if (value.startsWith('[')) return parseAcl(value)
  return value.split(',').flatMap(item => item.trim() || [])
}

/** A list in which every item passes `isGood`. */
const list = (isGood: (item: string) => boolean, what: string) => ({
  coerce: parseList,
  validate(value: unknown) {
    const isList = Array.isArray(value) && value.every(item => typeof item === 'string' && isGood(item))
    if (!isList) throw new Error(`must be a list of ${what}`)
  },
})

function isAddressOrNetwork(item: string): boolean {
  const [, address = '', bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(item) ?? []
  const family = isIP(address)
  return family !== 0 && (bits === undefined || Number(bits) <= (family === 4 ? 32 : 128))
}

/**
 * An origin as browsers send it (RFC 6454, 6.2): scheme, host, port unless it is the scheme's default, no path.
 * Sandboxed pages and local files send `null`. `*.` before the host stands for one label. The host after it must have
 * at least two labels or be localhost.
 */
function isOrigin(item: string): boolean {
  if (item === 'null') return true
  const [, parent] = /^https?:\/\/\*\.([^/:]+)(?::\d+)?$/.exec(item) ?? []
  // A wildcard directly below a top-level domain would allow everyone's sites.
  if (parent !== undefined && parent !== 'localhost' && !/[^.]\.[a-z][a-z0-9-]*$/.test(parent)) return false
  const plain = parent === undefined ? item : item.replace('*.', 'any.')
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/\s,A-Z*]+$/.test(plain)) return false
  return !/^https?:/.test(plain) || (URL.canParse(plain) && new URL(plain).origin === plain)
}

/** RFC 6838, 4.2, in lower case; `*` for every subtype. */
const isType = (item: string): boolean => /^!?[a-z][a-z0-9.+-]*\/([a-z0-9][a-z0-9.+-]*|\*)$/.test(item)

function checkRule(rule: unknown): void {
  const { pattern, access, roles = [...ROLES], ...rest }: Record<string, unknown> = Object(rule)
  const known = typeof pattern === 'string' && Object.keys(rest).length === 0
  if (!known || !['read', 'write', 'readwrite'].includes(String(access))) {
    throw new Error(`a rule must be {pattern: 'sensors/%u/#', access: 'read' | 'write' | 'readwrite'}`)
  }
  const isRole = (role: unknown) => ROLES.some(known => known === role)
  if (!Array.isArray(roles) || roles.length === 0 || !roles.every(isRole))
    throw new Error(`roles of a rule must be a list of ${ROLES.join(', ')}`)
  if (filterFault(pattern) !== undefined)
    throw new Error(`pattern ${JSON.stringify(pattern)} is not an MQTT topic filter`)
  if (/^(users$|users\/|\$)/.test(pattern)) throw new Error(`topics under users/ and $ are the gateway's own`)
}

function checkAcl(value: unknown): void {
  if (value === 'closed' || value === 'open') return
  if (!Array.isArray(value)) throw new Error(`must be 'closed', 'open' or a list of rules`)
  for (const rule of value) checkRule(rule)
}

function parseAcl(text: string): unknown {
  try {
    return text.startsWith('[') ? JSON.parse(text) : text
  } catch {
    return text
  }
}

function checkOptional(value: unknown): void {
  if (typeof value !== 'string' || value.includes('\0')) throw new Error('must be text')
}

function checkUserIds(value: unknown): void {
  const isId = (id: unknown) => typeof id === 'string' && isUserId(id)
  if (!Array.isArray(value) || !value.every(isId))
    throw new Error('must be a list of user ids, 9 digits each')
}

convict.addFormats({
  flag: {
    coerce: (value: unknown) => FLAGS.get(value) ?? value,
    validate(value: unknown) {
      if (typeof value !== 'boolean') throw new Error('must be true or false')
    },
  },
  count: quantity(NUMBER, 'a whole number'),
  port: quantity(NUMBER, 'a port', 65_535),
  duration: quantity(DURATION, `a duration (ms, or '250ms', '30s', '5m', '12h', '7d')`),
  bytes: quantity(BYTES, `a size (bytes, or '64KiB', '1MiB', '1GiB')`),
  text: { validate: checkText },
  path: { validate: checkPath },
  file: { validate: checkFile },
  addresses: list(isAddressOrNetwork, `addresses and networks ('10.0.0.1', 'fd00::/8')`),
  origins: list(isOrigin, `origins ('https://chat.example', 'https://*.chat.example')`),
  'media types': list(isType, `media types ('image/*', '!application/zip')`),
  optional: { validate: checkOptional },
  texts: list(item => item !== '' && !item.includes('\0'), 'texts'),
  'user ids': {
    coerce: (value: unknown) =>
      typeof value === 'string' ? value.split(',').flatMap(id => id.trim() || []) : value,
    validate: checkUserIds,
  },
  acl: { coerce: parseAcl, validate: checkAcl },
  'mongodb-url': { validate: checkMongoUrl },
})
