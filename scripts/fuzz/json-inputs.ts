/** Malformed and hostile requests of the JSON protocol. */
import type { Random } from '../random.js'
import { edgeRequest } from './edges.js'
import { hostileText, hostileValue, withKey, writeJson } from './hostile.js'
import type { Account, Generate, Input } from './input.js'

export interface JsonInput extends Input {
  readonly isBinary: boolean
}

type Request = Record<string, unknown>

const action = (name: string, data: unknown) => ({ type: 'action', action: name, data })

/** One valid example of every request (docs/protocol.md, "Requests"). */
const REQUESTS: readonly ((random: Random, account: Account) => Request)[] = [
  random =>
    action('register', {
      email: `${hostileText(random)}@fuzz.example`,
      password: 'p',
      firstName: hostileText(random),
      lastName: 'l',
      username: hostileText(random),
    }),
  (_, { email, password }) =>
    action('login', { email, password, device: 'd', ack: 'explicit', events: ['receipt'], token: true }),
  (_, { email }) => action('query', { email }),
  () => action('query', {}),
  (_, { id }) => action('query', { id, username: 'u', firstName: 'f', lastName: 'l', after: id }),
  (_, { password }) => action('delete', { password }),
  () => action('ack', { seq: 1 }),
  (_, { id }) => action('history', { with: id, before: 'x', limit: 10 }),
  () => action('refresh', { token: 'x'.repeat(43) }),
  () => action('logout', {}),
  (_, { id }) => action('sessions', { user: id }),
  (_, { id }) => action('revoke', { session: 'x', others: true, user: id }),
  random => action('mint', { device: hostileText(random) }),
  (_, { password }) => action('password', { password, newPassword: 'p', keepDevices: true }),
  random => ({ type: 'message', data: { recipient: '123456789', content: hostileText(random) } }),
  (random, { id }) => ({ type: 'message', data: { recipient: id, content: hostileText(random) } }),
  random => ({ type: 'broadcast', data: { content: hostileText(random) } }),
  random => encrypted(random, { enc: base64(random, 32) }),
  random => encrypted(random, { enc: base64(random, 32), suite: 'chacha20-poly1305' }),
  random => encrypted(random, {}),
]

/** An encrypted packet that does not open: at best its keys have the right form. */
const encrypted = (random: Random, more: object): Request => ({
  type: 'encrypted',
  data: { ...more, ct: base64(random, 16 + Math.floor(random.next() * 200)) },
})

const base64 = (random: Random, bytes: number): string =>
  Buffer.from(Array.from({ length: bytes }, () => Math.floor(random.next() * 256))).toString('base64')

export const jsonInput: Generate<JsonInput> = (random, account) => {
  if (random.chance(0.15)) {
    const text = writeJson(edgeRequest(random, account))
    return { kind: 'json edge', bytes: Buffer.from(text), isBinary: false }
  }
  const request = random.pick(REQUESTS)(random, account)
  if (random.chance(0.5)) request.id = random.chance(0.5) ? 'r1' : hostileText(random)
  const changes = Math.floor(random.next() * 3)
  for (let i = 0; i < changes; i++) change(random, request)
  const text = writeJson(request, random.chance(0.1) ? 2 : undefined)
  const isBroken = random.chance(0.3)
  return {
    kind: isBroken ? 'json text' : 'json values',
    bytes: Buffer.from(isBroken ? breakText(random, text) : text),
    isBinary: random.chance(0.01),
  }
}

/** Replaces, removes or adds one member of the request or of its data. */
function change(random: Random, request: Request): void {
  const { data } = request
  const object = random.chance(0.7) && typeof data === 'object' && data !== null ? (data as Request) : request
  const key = random.pick([...Object.keys(object), 'type', 'password', 'content'])
  const how = random.next()
  if (how < 0.7) withKey(object, key, hostileValue(random))
  else if (how < 0.85) delete object[key]
  else withKey(object, hostileText(random), hostileValue(random))
}

const STRAYS = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ',',
  ':',
  '\\',
  '\\u',
  '\ufeff',
  '\0',
  '//',
  "'",
  'NaN',
  '\u2028',
  '1',
  'é',
]

function breakText(random: Random, text: string): string {
  const at = Math.floor(random.next() * text.length)
  return random.pick<() => string>([
    () => text.slice(0, at),
    () => text.slice(at),
    () => text.slice(0, at) + random.pick(STRAYS) + text.slice(at),
    () => text.slice(0, at) + text.slice(at + 1),
    () => `{"type":"broadcast","type":"message",${text.slice(1)}`,
    () => `${text.slice(0, -1)},"type":"action","data":{"content":"x"}}`,
    () => `${text}${text}`,
    () => `[${text}]`,
    () => `\ufeff${text}`,
    () => ` \n\t${text}\r\n `,
    () => text.replaceAll('"', "'"),
    () => text.replace(/[a-z]/g, letter => `\\u00${letter.charCodeAt(0).toString(16)}`),
    () => random.pick(['', ' ', 'null', '0', '""', '[]', '{}', 'true', '[[[[', '{"a":'.repeat(50_000)]),
  ])()
}
