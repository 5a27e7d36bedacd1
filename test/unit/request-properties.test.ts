/** Properties of the request parser: any input is refused with a number, or is a request that satisfies the rules. */
import fc from 'fast-check'
import t from 'tap'
import { HOSTILE_NAMES } from '../../scripts/fuzz/hostile.js'
import { CODES, GatewayError } from '../../src/core/errors.js'
import { decodeText, parseContent } from '../../src/mqtt/payload.js'
import { parseRequest, REQUESTS, RefusedRequest, type RequestRules } from '../../src/protocol/requests.js'
import { ofKind } from '../helpers/kind.js'
import { check } from '../helpers/property.js'

const STRICT: RequestRules = { maxDepth: 8, maxValues: 256, unknownFields: 'refuse' }
const LAX: RequestRules = { maxDepth: 8, maxValues: 256, unknownFields: 'ignore' }

const NAMES = Object.keys(REQUESTS)
const FIELDS = [...new Set(Object.values(REQUESTS).flatMap(({ properties }) => Object.keys(properties)))]

const text = fc.oneof(fc.constantFrom(...HOSTILE_NAMES, '\ud800', '123456789'), fc.string({ unit: 'binary' }))
const value = fc.oneof(
  { weight: 3, arbitrary: text },
  fc.jsonValue(),
  fc.double(),
  fc.integer(),
  fc.constant(true),
)
const key = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...FIELDS) }, text)
const data = fc.oneof({ weight: 9, arbitrary: fc.dictionary(key, value, { noNullPrototype: true }) }, value)

/** Similar enough to a request that every rule is reached. */
const request = fc.record(
  {
    type: fc.oneof({ weight: 5, arbitrary: fc.constantFrom('action', 'message', 'broadcast') }, value),
    action: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...NAMES) }, value),
    id: fc.oneof(text, value),
    data,
  },
  { requiredKeys: [] },
)

const likely = fc.oneof({ weight: 4, arbitrary: text }, value)
const some = (fields: readonly string[]) =>
  fc.record(Object.fromEntries(['x', ...fields].map(field => [field, likely])), { requiredKeys: [] })
const isDirect = (name: string) => name === 'message' || name === 'broadcast'
const ENTRIES = Object.entries(REQUESTS)
const DIRECT = ENTRIES.filter(([name]) => isDirect(name))

/** With members of its own alone: by chance the right ones hardly ever come together. Messages come more often than the others. */
const fitting = fc
  .constantFrom(...ENTRIES, ...DIRECT, ...DIRECT, ...DIRECT)
  .chain(([name, { properties }]) => {
    const fields = Object.keys(properties)
    return fc.record({
      type: fc.constant(isDirect(name) ? name : 'action'),
      action: fc.constant(isDirect(name) ? undefined : name),
      data: fc.oneof({ weight: 4, arbitrary: some(fields) }, fc.constant({})),
    })
  })

const frame = fc.oneof(
  { weight: 3, arbitrary: fitting.map(one => JSON.stringify(one)) },
  { weight: 6, arbitrary: request.map(one => JSON.stringify(one)) },
  { weight: 1, arbitrary: fc.json() },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
  {
    weight: 1,
    arbitrary: fc.tuple(request, fc.nat()).map(([one, at]) => JSON.stringify(one).slice(0, at % 200)),
  },
)

function attempt(text: string, rules: RequestRules) {
  try {
    return { parsed: parseRequest(text, rules), refused: undefined }
  } catch (thrown) {
    return { parsed: undefined, refused: thrown }
  }
}

const isText = (value: unknown, max: number): boolean =>
  typeof value === 'string' && value.length <= max && value.isWellFormed() && !value.includes('\0')

const isUserId = (value: unknown) => typeof value === 'string' && /^[1-9][0-9]{8}$/.test(value)
const isTrue = (value: unknown) => value === true

/** docs/protocol.md, "Requests", once more: what must be there, and what each member may be at most. */
const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  register: ['email', 'password', 'firstName', 'lastName'],
  refresh: ['token'],
  mint: ['device'],
  password: ['password', 'newPassword'],
  delete: ['password'],
  ack: ['seq'],
  history: ['with'],
  message: ['recipient'],
  uploadSlot: ['name', 'size'],
  fileLink: ['file'],
  removeFile: ['file'],
  broadcast: ['content'],
}
const MEMBERS: Readonly<Record<string, (value: unknown) => boolean>> = {
  email: value => isText(value, 320),
  device: value => isText(value, 256) && value !== '',
  from: value => value === 'start',
  ack: value => value === 'explicit' || value === 'ping',
  events: value => Array.isArray(value) && value.length <= 32 && value.every(one => isText(one, 32)),
  token: value => isTrue(value) || (isText(value, 8192) && value !== ''),
  user: isUserId,
  with: isUserId,
  others: isTrue,
  keepDevices: value => typeof value === 'boolean',
  seq: value => Number.isSafeInteger(value) && Number(value) >= 0,
  limit: value => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 500,
  after: value => value === '' || isUserId(value),
  recipient: value => typeof value === 'string' && value.isWellFormed(),
  content: value => isText(value, 16_777_216) && value !== '',
  size: value => Number.isSafeInteger(value) && Number(value) > 0,
  type: value => isText(value, 127) && /^[^/ ]+\/[^/ ]+$/.test(String(value)),
  file: value => isText(value, 64) && value !== '',
  files: value => Array.isArray(value) && value.length <= 10 && value.every(one => isText(one, 64)),
}
const keepsRules = (name: string, data: object): boolean =>
  (REQUIRED[name] ?? []).every(key => Object.hasOwn(data, key)) &&
  Object.entries(data).every(([key, value]) => {
    const rule = Object.hasOwn(MEMBERS, key) ? MEMBERS[key] : (text: unknown) => isText(text, 1024)
    return rule?.(value) === true
  })

t.test('a frame is a request that satisfies the rules, or refused with a number and a reason', async t => {
  const seen = new Set<string>()
  check(
    t,
    fc.property(frame, fc.constantFrom(STRICT, LAX), (text, rules) => {
      const { parsed, refused } = attempt(text, rules)
      if (parsed === undefined) {
        seen.add('refused')
        return (
          refused instanceof RefusedRequest &&
          refused.kind in CODES &&
          typeof refused.info?.reason === 'string'
        )
      }
      seen.add(parsed.name)
      const fields: readonly string[] = Object.keys(REQUESTS[parsed.name].properties)
      const isKnown = Object.keys(parsed.data).every(key => fields.includes(key))
      const known = Object.entries(parsed.data).filter(([key]) => fields.includes(key))
      const { content, files } = parsed.data as { content?: unknown; files?: unknown }
      const isEmpty = parsed.name === 'message' && content === undefined && files === undefined
      const isRight = !isEmpty && keepsRules(parsed.name, Object.fromEntries(known))
      const isIdRight =
        parsed.id === undefined || (parsed.id !== '' && parsed.id.length <= 64 && parsed.id.isWellFormed())
      return isRight && isIdRight && (isKnown || (rules === LAX && parsed.name !== 'query'))
    }),
    { numRuns: 8000 },
  )
  for (const name of ['refused', 'query', 'logout', 'message', 'broadcast'])
    t.ok(seen.has(name), `${name} was seen`)
})

t.test('a request that satisfies the rules is accepted unchanged', async t => {
  const content = fc.string({ unit: 'binary', minLength: 1 }).filter(text => isText(text, 1000))
  const id = fc.string({ unit: 'binary', minLength: 1, maxLength: 32 }).filter(text => text.isWellFormed())
  check(
    t,
    fc.property(content, text, id, (content, recipient, id) => {
      fc.pre(isText(recipient, 1000))
      const asked = { type: 'message', id, data: { recipient, content } }
      const { name, id: gotId, data } = parseRequest(JSON.stringify(asked), STRICT)
      return name === 'message' && gotId === id && JSON.stringify(data) === JSON.stringify(asked.data)
    }),
  )
})

t.test('no frame can change the prototype of objects', async t => {
  check(
    t,
    fc.property(
      fc.jsonValue({ maxDepth: 4 }),
      fc.constantFrom('__proto__', 'constructor', 'prototype'),
      (value, key) => {
        const hostile = `{${JSON.stringify(key)}:${JSON.stringify(value)},"type":"action","action":"logout","data":{${JSON.stringify(key)}:${JSON.stringify(value)}}}`
        attempt(hostile, STRICT)
        const { parsed } = attempt(hostile, LAX)
        return parsed?.name === 'logout' && Object.keys(Object.prototype).length === 0
      },
    ),
  )
})

t.test('a payload is decoded unchanged or refused', async t => {
  const bytes = fc.oneof(
    fc.uint8Array().map(Buffer.from),
    text.map(one => Buffer.from(one)),
  )
  check(
    t,
    fc.property(bytes, fc.constantFrom('text' as const, 'json' as const), (payload, format) => {
      try {
        const { content, id } = parseContent(payload, format)
        return format === 'text' ? Buffer.from(content).equals(payload) : content.isWellFormed() && id !== ''
      } catch (thrown) {
        return thrown instanceof GatewayError && thrown.kind === 'BAD_FIELD'
      }
    }),
  )
  check(
    t,
    fc.property(fc.uint8Array(), bytes => {
      try {
        return Buffer.from(decodeText(Buffer.from(bytes))).equals(bytes)
      } catch (thrown) {
        return thrown instanceof GatewayError
      }
    }),
  )
})

t.test('names that new requests give have no control characters; old clients may register any', t => {
  const register = { email: 'a@b.c', password: 'p', lastName: 'L' }
  const parse = (action: string, data: object) =>
    parseRequest(JSON.stringify({ type: 'action', action, data }), STRICT)
  for (const firstName of ['a\u001b[31m', '\r', 'a\u009b', 'a\u202eb', 'a\u2028']) {
    t.doesNotThrow(() => parse('register', { ...register, firstName }))
    t.throws(() => parse('profile', { firstName }), ofKind('BAD_FIELD', { info: { field: 'firstName' } }))
  }
  for (const firstName of ['Ann', '陳大文', 'नर्\u200dगिस', 'Zoë 👩\u200d🚀'])
    t.doesNotThrow(() => parse('profile', { firstName }))
  t.end()
})
