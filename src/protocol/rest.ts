/**
 * What the REST API takes besides the fields of requests (requests.ts), and what it answers. The published document and the
 * checks derive from it.
 */
import { type Static, type TObject, type TSchema, Type } from '@sinclair/typebox'
import { USER_ID } from '../core/model.js'
import { personName, text, userId } from './fields.js'
import { REQUESTS } from './requests.js'

export type Fields = TObject
export type Schema = TSchema

const LANGUAGE = Type.Union([Type.Literal('en'), Type.Literal('zh-TW')])

/** Most messages of one answer. Each is held until the client has read it. */
const HISTORY_LIMIT = 100

/** How long an answer may wait for a message, s: shorter than proxies wait for an answer. */
export const MAX_WAIT_SECONDS = 30

/** What it takes: bodies, parameters of the path, and of the query. */
export const TAKEN = {
  ...REQUESTS,
  register: Type.Object({
    ...REQUESTS.register.properties,
    firstName: personName(128),
    lastName: personName(128),
  }),
  // What belongs to a connection is left out: a login by REST has none.
  login: Type.Omit(REQUESTS.login, ['from', 'ack', 'events', 'token']),
  // Who asks has logged in.
  beginSecondFactor: Type.Omit(REQUESTS.beginSecondFactor, ['email']),
  confirmSecondFactor: Type.Omit(REQUESTS.confirmSecondFactor, ['email']),
  renewRecoveryCodes: Type.Omit(REQUESTS.renewRecoveryCodes, ['email']),
  removeSecondFactor: Type.Omit(REQUESTS.removeSecondFactor, ['email']),
  beginPasskey: Type.Omit(REQUESTS.beginPasskey, ['email', 'list']),
  addPasskey: Type.Omit(REQUESTS.addPasskey, ['email']),
  removePasskey: Type.Omit(REQUESTS.removePasskey, ['email', 'passkey']),
  password: Type.Omit(REQUESTS.password, ['token']),
  passkey: Type.Object({ id: REQUESTS.removePasskey.properties.passkey }),
  mintAppPassword: Type.Omit(REQUESTS.mintAppPassword, ['email']),
  user: Type.Object({ id: userId }),
  file: Type.Object({ id: REQUESTS.fileLink.properties.file }),
  session: Type.Object({ id: text(64, 1) }),
  others: Type.Object({ others: Type.Literal(true, { description: 'All but the one that asks.' }) }),
  me: REQUESTS.profile,
  inbox: Type.Object({
    ...REQUESTS.inbox.properties,
    wait: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_WAIT_SECONDS,
        description: 'Seconds to wait where there is no message.',
      }),
    ),
  }),
  history: Type.Object({
    with: userId,
    before: Type.Optional(text(64, 1)),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: HISTORY_LIMIT })),
  }),
} as const

const id = Type.String({ pattern: `^${USER_ID}$`, description: 'Nine digits.' })
const time = Type.String({ format: 'date-time' })
const told = (description: string) => Type.String({ description })

const pair = {
  token: told('Access token, for `Authorization: Bearer`.'),
  refresh: told('Good for one new pair of tokens.'),
  expires: Type.String({ format: 'date-time', description: 'Of the access token.' }),
}

const login = {
  id: told('Of the session.'),
  device: told('Empty: the default device of the account.'),
  created_at: time,
  seen_at: time,
  online: Type.Boolean(),
  address: told('Of its connection; empty: it has none.'),
}

const person = {
  id,
  username: told('Empty: none.'),
  firstName: Type.String(),
  lastName: Type.String(),
  profileImage: Type.String(),
  key: Type.String(),
}

const user = Type.Object({
  ...person,
  email: told('Empty: not shown to who asks.'),
  online: Type.Boolean({ description: 'False where who asks does not learn it.' }),
})

const file = {
  id: told('Of the file.'),
  name: Type.String(),
  size: Type.Integer({ minimum: 0, description: 'Bytes.' }),
  type: told('Media type.'),
}

const link = {
  url: told('Good for whoever has it, until it expires.'),
  thumbnail: Type.Optional(told('Of an image.')),
}

const message = {
  id: told('UUIDv7 (RFC 9562).'),
  sender: id,
  recipient: id,
  content: told('With files, it ends with a line for each.'),
  created_at: time,
  seq: Type.Optional(
    Type.Integer({ minimum: 1, description: 'In the own inbox; only of messages that came.' }),
  ),
  text: Type.Optional(told('Of a message with files: what the sender wrote.')),
  files: Type.Optional(Type.Array(Type.Object({ ...file, ...link }))),
}

const passkey = { id: told('Of the credential, base64url.'), name: Type.String() }

/** What it answers. Further members may be added. */
export const GIVEN = {
  Problem: Type.Object(
    {
      type: Type.String({ format: 'uri-reference', description: 'Where the code is described.' }),
      title: told('The text of the code, in the language that `Accept-Language` asks for: `zh-TW` or `en`.'),
      status: Type.Integer({ minimum: 400, maximum: 599 }),
      detail: Type.Optional(told('Why.')),
      code: Type.Integer({ description: 'The number that the same refusal has over WebSocket and MQTT.' }),
      field: Type.Optional(told('The field, parameter or header at fault.')),
      retry: Type.Boolean({ description: 'Whether the same request may succeed later.' }),
    },
    { description: 'Problem details (RFC 9457).' },
  ),
  Registered: Type.Object({ id }),
  LoggedIn: Type.Object({ id, ...pair }),
  Tokens: Type.Object(pair),
  Image: Type.Object({
    profileImage: told('Its address; without a host where the server does not know its own.'),
  }),
  Me: Type.Object({
    ...person,
    email: Type.String(),
    language: Type.Union([LANGUAGE, Type.Null()], {
      description: 'Of letters to the account; null: that of the server.',
    }),
    role: Type.Union([Type.Literal('user'), Type.Literal('admin')]),
    created_at: time,
    verified_at: Type.Union([time, Type.Null()], {
      description: 'When the email address was confirmed; null: never.',
    }),
  }),
  Deletion: Type.Object({
    deleted_at: Type.Union([time, Type.Null()], {
      description: 'Until when a login keeps the account; null: it is removed.',
    }),
  }),
  User: user,
  Users: Type.Object({ users: Type.Array(user) }),
  Sent: Type.Object({ id: told('Of the message, the same for a repeat.') }),
  Messages: Type.Object({
    messages: Type.Array(Type.Object(message), { description: 'Newest first.' }),
    more: Type.Boolean({ description: 'Whether there may be older ones: see the header `Link`.' }),
  }),
  Inbox: Type.Object({
    messages: Type.Array(
      Type.Object({
        ...message,
        recipient: Type.Optional({ ...id, description: 'Not of a broadcast.' }),
        seq: Type.Integer({ minimum: 1 }),
      }),
      { description: 'Oldest first.' },
    ),
    upTo: Type.Integer({
      minimum: 0,
      description:
        'To confirm when the messages are kept: the `seq` of the last, or of what is not there any more behind it.',
    }),
    confirmed: Type.Integer({ minimum: 0, description: 'What the device has confirmed.' }),
    more: Type.Boolean({ description: 'Whether there are newer ones: see the header `Link`.' }),
  }),
  Confirmed: Type.Object({ confirmed: Type.Integer({ minimum: 0 }) }),
  Slot: Type.Object({
    id: told('Of the file, for `files` of a message.'),
    method: Type.Literal('PUT'),
    url: Type.String(),
    headers: Type.Record(Type.String(), Type.String()),
    expires: time,
  }),
  Files: Type.Object({
    files: Type.Array(Type.Object({ ...file, uploaded: Type.Boolean(), created_at: time })),
    bytes: Type.Integer({ minimum: 0 }),
    quota: Type.Integer({ minimum: 0, description: 'Most bytes of the account.' }),
  }),
  FileLink: Type.Object({ ...file, ...link, expires: time }),
  Sessions: Type.Object({
    sessions: Type.Array(
      Type.Object({
        ...login,
        kind: Type.Union(
          ['password', 'passkey', 'token', 'device', 'app', 'external'].map(kind => Type.Literal(kind)),
        ),
        current: Type.Boolean({ description: 'The one that asks.' }),
      }),
    ),
  }),
  Revoked: Type.Object({ revoked: Type.Integer({ minimum: 0 }) }),
  Devices: Type.Object({ devices: Type.Array(Type.Object(login)) }),
  Credential: Type.Object({
    session: told('For `DELETE /devices/{id}`.'),
    device: told('The MQTT client id.'),
    password: told('For CONNECT. It is told this once.'),
  }),
  SecondFactor: Type.Object({
    on: Type.Boolean(),
    since: Type.Optional(time),
    recoveryCodes: Type.Integer({ minimum: 0, description: 'How many are left.' }),
  }),
  Secret: Type.Object({
    secret: told('For an authenticator app (RFC 6238), and for the confirmation.'),
    uri: told('The same as `otpauth://…`, for a QR code.'),
  }),
  RecoveryCodes: Type.Object({
    recoveryCodes: Type.Array(Type.String(), { description: 'Each is good once. They are told this once.' }),
  }),
  Passkeys: Type.Object({ passkeys: Type.Array(Type.Object({ ...passkey, created_at: time })) }),
  Passkey: Type.Object(passkey),
  NewPasskeyOptions: Type.Object(
    { challenge: told('Good for five minutes.') },
    {
      additionalProperties: true,
      description:
        '`PublicKeyCredentialCreationOptionsJSON` of WebAuthn, for `parseCreationOptionsFromJSON`.',
    },
  ),
  PasskeyOptions: Type.Object(
    { challenge: told('Good once, for five minutes.') },
    {
      additionalProperties: true,
      description: '`PublicKeyCredentialRequestOptionsJSON` of WebAuthn, for `parseRequestOptionsFromJSON`.',
    },
  ),
  AppPassword: Type.Object({
    session: told('For `DELETE /sessions/{id}`.'),
    name: Type.String(),
    password: told('It is told this once.'),
  }),
} as const

export type Problem = Static<typeof GIVEN.Problem>
export type Me = Static<typeof GIVEN.Me>
