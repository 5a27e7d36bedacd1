/**
 * Parses requests. Every rule about a field of a client's request is in this file, once; the types and the published
 * documents derive from it.
 */
import { type Static, Type } from '@sinclair/typebox'
import { GatewayError } from '../core/errors.js'
import { LENGTHS } from '../core/model.js'
import {
  badField,
  checkFields,
  compileRules,
  isRecord,
  maybeUserId,
  personName,
  refuseUnknown,
  text,
  userId,
} from './fields.js'
import { isTooManyValues } from './json-size.js'

/** Of old clients; see personName. */
const name = text(128, 1)
/** accounts/ decides whether it is an address. */
const email = text(LENGTHS.email)
const password = text(LENGTHS.password)
const token = text(LENGTHS.token, 1)
const deviceName = text(64, 1)
const code = text(32, 1)
const fileId = text(64, 1)
/** Of one message. */
const MAX_FILES = 10

/** RFC 6838, 4.2, without parameters. */
const mediaType = Type.String({
  maxLength: 127,
  pattern: '^[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*$',
  reason: 'is no media type in lower case',
})
const language = Type.Union([Type.Literal('en'), Type.Literal('zh-TW')])
/** PEM, JWK, OpenSSH, or base64: printable ASCII and ends of lines. '' removes it. */
const publicKey = Type.String({
  maxLength: LENGTHS.publicKey,
  pattern: '^[\\x20-\\x7e\\r\\n]*$',
  reason: 'must be printable ASCII',
})

/** JSON forms of WebAuthn Level 3, 5.1, as browsers make them. What they have besides is ignored. */
const base64url = (maxLength: number) =>
  Type.String({ minLength: 1, maxLength, pattern: '^[\\w-]+$', reason: 'is not base64url' })
const credentialId = base64url(1364)
const credential = { id: credentialId, rawId: credentialId, type: Type.Literal('public-key') }
const newPasskey = Type.Object({
  ...credential,
  response: Type.Object({ clientDataJSON: base64url(4096), attestationObject: base64url(8192) }),
})
const usedPasskey = Type.Object({
  ...credential,
  response: Type.Object({
    clientDataJSON: base64url(4096),
    authenticatorData: base64url(4096),
    signature: base64url(2048),
    userHandle: Type.Optional(base64url(88)),
  }),
})

/** Who shows once more that an account is theirs. Without `email`, the account that has logged in. */
const owner = { email: Type.Optional(email), password, code: Type.Optional(code) }

/** One schema per request (docs/protocol.md, "Requests"). Lengths are in UTF-16 code units. */
export const REQUESTS = {
  register: Type.Object({
    email: text(LENGTHS.email, 1),
    password: text(LENGTHS.password, 1),
    firstName: name,
    lastName: name,
    username: Type.Optional(text(64)),
    invite: Type.Optional(text(64, 1)),
  }),
  login: Type.Object({
    email: Type.Optional(email),
    password: Type.Optional(password),
    // Of the second factor.
    code: Type.Optional(code),
    // In place of the three above.
    passkey: Type.Optional(usedPasskey),
    device: Type.Optional(deviceName),
    from: Type.Optional(Type.Literal('start')),
    ack: Type.Optional(Type.Union([Type.Literal('explicit'), Type.Literal('ping')])),
    events: Type.Optional(Type.Array(text(32, 1), { maxItems: 32 })),
    // `true` asks for tokens; a string is a token to log in with.
    token: Type.Optional(Type.Union([Type.Literal(true), token])),
  }),
  refresh: Type.Object({ token }),
  logout: Type.Object({}),
  sessions: Type.Object({ user: Type.Optional(userId) }),
  revoke: Type.Object({
    session: Type.Optional(text(64, 1)),
    others: Type.Optional(Type.Literal(true)),
    user: Type.Optional(userId),
  }),
  secondFactor: Type.Object({}),
  beginSecondFactor: Type.Object(owner),
  confirmSecondFactor: Type.Object({
    email: Type.Optional(email),
    secret: text(128, 1),
    code,
    keepDevices: Type.Optional(Type.Boolean()),
  }),
  renewRecoveryCodes: Type.Object(owner),
  removeSecondFactor: Type.Object(owner),
  passkeys: Type.Object({}),
  beginPasskey: Type.Object({ ...owner, list: Type.Optional(Type.Literal(true)) }),
  addPasskey: Type.Object({ email: Type.Optional(email), name: text(64, 1), passkey: newPasskey }),
  removePasskey: Type.Object({ ...owner, passkey: credentialId }),
  askPasskey: Type.Object({}),
  mintAppPassword: Type.Object({ ...owner, name: text(64, 1) }),
  // Both only where there is a second factor.
  mint: Type.Object({ device: text(256, 1), password: Type.Optional(password), code: Type.Optional(code) }),
  password: Type.Object({
    password,
    code: Type.Optional(code),
    newPassword: text(LENGTHS.password, 1),
    keepDevices: Type.Optional(Type.Boolean()),
    // Asks for new tokens.
    token: Type.Optional(Type.Literal(true)),
  }),
  query: Type.Object({
    email: Type.Optional(email),
    username: Type.Optional(text(64)),
    id: Type.Optional(text(16)),
    firstName: Type.Optional(text(128)),
    lastName: Type.Optional(text(128)),
    after: Type.Optional(maybeUserId),
  }),
  requestPasswordReset: Type.Object({ email: text(LENGTHS.email, 1) }),
  // `token` of the link, or `email` with the code.
  resetPassword: Type.Object({
    token: Type.Optional(token),
    email: Type.Optional(email),
    code: Type.Optional(code),
    newPassword: text(LENGTHS.password, 1),
  }),
  // Without `email`, the account that has logged in.
  resendVerification: Type.Object({ email: Type.Optional(email) }),
  verifyEmail: Type.Object({
    token: Type.Optional(token),
    email: Type.Optional(email),
    code: Type.Optional(code),
  }),
  changeEmail: Type.Object({ password, code: Type.Optional(code), email: text(LENGTHS.email, 1) }),
  undoEmail: Type.Object({ token, newPassword: text(LENGTHS.password, 1) }),
  // Only what is named is changed.
  profile: Type.Object({
    username: Type.Optional(text(64)),
    firstName: Type.Optional(personName(128)),
    lastName: Type.Optional(personName(128)),
    language: Type.Optional(language),
    key: Type.Optional(publicKey),
  }),
  language: Type.Object({ language }),
  uploadSlot: Type.Object({
    name: text(255, 1),
    size: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
    type: Type.Optional(mediaType),
  }),
  fileLink: Type.Object({ file: fileId }),
  files: Type.Object({}),
  removeFile: Type.Object({ file: fileId }),
  delete: Type.Object({ password, code: Type.Optional(code) }),
  ack: Type.Object({ seq: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }) }),
  // By REST alone.
  inbox: Type.Object({
    after: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
  }),
  history: Type.Object({
    with: userId,
    before: Type.Optional(text(64, 1)),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500 })),
  }),
  // `limits.content` bounds the content in bytes; it is checked when the message is sent.
  // Only a message with files may be without content: see checkContent.
  message: Type.Object({
    recipient: Type.String(),
    content: Type.Optional(text(16_777_216)),
    files: Type.Optional(Type.Array(fileId, { minItems: 1, maxItems: MAX_FILES })),
  }),
  broadcast: Type.Object({ content: text(16_777_216, 1) }),
} as const

export type RequestName = keyof typeof REQUESTS
export type RequestData<N extends RequestName> = Static<(typeof REQUESTS)[N]>

export type Request = {
  [N in RequestName]: { readonly name: N; readonly id: string | undefined; readonly data: RequestData<N> }
}[RequestName]

/** A GatewayError with the `id` of the request, so that the refusal can repeat it. */
export class RefusedRequest extends GatewayError {
  constructor(
    error: GatewayError,
    readonly id: string | undefined,
  ) {
    super(error.kind, error.info, error.cause)
  }
}

export interface RequestRules {
  /** Most levels of objects and arrays, including the request itself. */
  readonly maxDepth: number
  /** Most members and elements of all objects and arrays together. */
  readonly maxValues: number
  /** How members that the protocol does not name are treated. */
  readonly unknownFields: 'refuse' | 'ignore'
}

const MAX_ID_LENGTH = 64
const TOP_LEVEL = new Set(['type', 'action', 'data', 'id'])
const compiled = compileRules(REQUESTS)

/**
 * @param frame one request as JSON text
 * @throws RefusedRequest BAD_JSON, BAD_FIELD (info.field), TOO_LARGE, UNKNOWN_REQUEST
 */
export const parseRequest = (frame: string, rules: RequestRules): Request =>
  requestOf(parseTop(frame, rules), rules)

/** The first half of `parseRequest`: the object of a frame. @throws RefusedRequest BAD_JSON */
export function parseTop(frame: string, rules: RequestRules): Record<string, unknown> {
  if (isTooManyValues(frame, rules.maxValues))
    throw new RefusedRequest(new GatewayError('BAD_JSON', { reason: 'too many members' }), undefined)
  return parseObject(frame)
}

/** The second half. @throws RefusedRequest */
export function requestOf(top: Record<string, unknown>, rules: RequestRules): Request {
  const id = requestId(top)
  try {
    const name = requestName(top)
    const data = top.data ?? {}
    if (!isRecord(data)) throw badField('data', 'must be an object')
    if (isDeeper(top, rules.maxDepth)) throw new GatewayError('BAD_JSON', { reason: 'nested too deep' })
    if (rules.unknownFields === 'refuse') refuseUnknown(top, TOP_LEVEL)
    checkData(name, data, rules)
    // The data passed its schema above. Only here does JSON from the wire get a type.
    return { name, id, data } as Request
  } catch (error) {
    throw error instanceof GatewayError ? new RefusedRequest(error, id) : error
  }
}

/**
 * The same for a front end that names its requests in another way than by `type` and `action`.
 * @param data not deeper than allowed; see parseFields
 * @throws GatewayError BAD_FIELD (info.field), TOO_LARGE
 */
export function makeRequest(
  name: RequestName,
  data: Record<string, unknown>,
  id: string | undefined,
  rules: RequestRules,
): Request {
  checkData(name, data, rules)
  return { name, id, data } as Request
}

/** The fields of such a request, of which nothing is known yet. @throws GatewayError BAD_JSON */
export function parseFields(json: string, rules: RequestRules): Record<string, unknown> {
  if (isTooManyValues(json, rules.maxValues))
    throw new GatewayError('BAD_JSON', { reason: 'too many members' })
  const fields = parseObject(json)
  // The fields of a frame are one level deeper.
  if (isDeeper(fields, rules.maxDepth - 1)) throw new GatewayError('BAD_JSON', { reason: 'nested too deep' })
  return fields
}

function parseObject(frame: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(frame)
  } catch {
    throw new RefusedRequest(new GatewayError('BAD_JSON', { reason: 'not valid JSON' }), undefined)
  }
  if (isRecord(value)) return value
  throw new RefusedRequest(new GatewayError('BAD_JSON', { reason: 'not an object' }), undefined)
}

function requestId(top: Record<string, unknown>): string | undefined {
  const id = top.id
  if (id === undefined) return undefined
  if (typeof id === 'string' && id.length > 0 && id.length <= MAX_ID_LENGTH && id.isWellFormed()) return id
  throw new RefusedRequest(badField('id', `must be a string of 1 to ${MAX_ID_LENGTH} characters`), undefined)
}

const DIRECT: ReadonlySet<unknown> = new Set(['message', 'broadcast'])

function requestName(top: Record<string, unknown>): RequestName {
  const { type, action } = top
  if (typeof type !== 'string') throw badField('type', type === undefined ? 'is missing' : 'must be a string')
  if (DIRECT.has(type)) return type as RequestName
  if (type !== 'action') throw new GatewayError('UNKNOWN_REQUEST', { field: 'type', reason: 'unknown type' })
  if (typeof action !== 'string')
    throw badField('action', action === undefined ? 'is missing' : 'must be a string')
  if (!DIRECT.has(action) && compiled.has(action)) return action as RequestName
  throw new GatewayError('UNKNOWN_REQUEST', { field: 'action', reason: 'unknown action' })
}

function checkData(name: RequestName, data: Record<string, unknown>, rules: RequestRules): void {
  const rule = compiled.get(name)
  if (rule === undefined)
    throw new GatewayError('UNKNOWN_REQUEST', { field: 'action', reason: 'unknown action' })
  // A mistyped condition must never widen a query, so a query refuses unknown members whatever the config says.
  checkFields(rule, data, name === 'query' ? 'refuse' : rules.unknownFields)
  if (name === 'message') checkContent(data)
}

/** @throws GatewayError BAD_FIELD if a message has neither content nor files */
function checkContent({ content, files }: Record<string, unknown>): void {
  if (files !== undefined || (content !== undefined && content !== '')) return
  throw badField('content', content === undefined ? 'is missing' : 'must not be empty')
}

/** Looks no deeper than `levels`, so that no request can exhaust the stack. */
function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (levels === 0) return true
  for (const key in value) if (isDeeper((value as Record<string, unknown>)[key], levels - 1)) return true
  return false
}
