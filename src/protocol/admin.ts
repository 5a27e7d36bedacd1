/** Requests of operators, which come by the admin socket or over HTTP with a token: `POST /v1/<name>` with the fields as a JSON object. */
import { type Static, Type } from '@sinclair/typebox'
import { GatewayError } from '../core/errors.js'
import { LENGTHS } from '../core/model.js'
import { RANGES } from './admin-ranges.js'
import { badField, checkFields, compileRules, isRecord, personName, text, userId } from './fields.js'

/** An account by id, email or user name. */
const user = text(LENGTHS.email, 1)
const password = text(LENGTHS.password, 1)
const role = Type.Literal('admin')
/** As a person may type it, and read it in the audit. */
const tokenName = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$',
  reason: 'must be 1 to 64 of A-Z, a-z, 0-9 and . _ @ -, a letter or digit first',
})

/** An account as the old MumiChat server stored it. */
const OLD_ACCOUNT = Type.Object({
  id: userId,
  email: text(LENGTHS.email, 1),
  // 64 bytes in base64; it had '' for an empty password, by which nobody could log in.
  passwordHash: Type.String({
    pattern: '^([A-Za-z0-9+/]{85}[AQgw]==)?$',
    reason: 'is not one that the old server made',
  }),
  username: text(64),
  firstName: text(128),
  lastName: text(128),
  profileImage: text(2048),
  key: text(2048),
})

export type OldAccount = Static<typeof OLD_ACCOUNT>

/** One schema per request (docs/operations.md). */
export const ADMIN_REQUESTS = {
  'user.list': Type.Object({
    after: Type.Optional(userId),
    limit: Type.Optional(Type.Integer(RANGES['user.list'].limit)),
    role: Type.Optional(role),
    disabled: Type.Optional(Type.Literal(true)),
  }),
  'user.show': Type.Object({ user }),
  // Without a password one is made.
  'user.create': Type.Object({
    email: text(LENGTHS.email, 1),
    password: Type.Optional(password),
    firstName: Type.Optional(personName(128)),
    lastName: Type.Optional(personName(128)),
    username: Type.Optional(text(64, 1)),
    role: Type.Optional(role),
  }),
  'user.disable': Type.Object({ user }),
  'user.enable': Type.Object({ user }),
  'user.delete': Type.Object({ user }),
  // `from`: `next` of the reply before.
  'user.export': Type.Object({ user, from: Type.Optional(text(4096, 1)) }),
  'user.reset-password': Type.Object({
    user,
    password: Type.Optional(password),
    keepDevices: Type.Optional(Type.Boolean()),
    // A letter to the owner, who sets the password; nothing else is changed.
    mail: Type.Optional(Type.Literal(true)),
  }),
  // Each as OldAccount; checked one by one, so that a bad one refuses itself alone.
  'user.import': Type.Object({
    users: Type.Array(Type.Unknown(), { maxItems: 100 }),
    dryRun: Type.Optional(Type.Boolean()),
  }),
  'user.verify': Type.Object({ user }),
  'user.second-factor-off': Type.Object({ user }),
  // '' takes it away.
  'user.rename': Type.Object({ user, username: text(64) }),
  'user.grant': Type.Object({ user, role }),
  'user.revoke-role': Type.Object({ user, role }),
  // Without `seconds` it does not expire; `uses`: default 1.
  'invite.create': Type.Object({
    uses: Type.Optional(Type.Integer(RANGES['invite.create'].uses)),
    seconds: Type.Optional(Type.Integer(RANGES['invite.create'].seconds)),
  }),
  'invite.list': Type.Object({}),
  // Its id or its code.
  'invite.revoke': Type.Object({ invite: text(64, 1) }),
  'session.list': Type.Object({
    user: Type.Optional(user),
    limit: Type.Optional(Type.Integer(RANGES['session.list'].limit)),
  }),
  'session.kick': Type.Object({
    user,
    session: Type.Optional(text(64, 1)),
    revoke: Type.Optional(Type.Boolean()),
  }),
  // Heads of messages: behind `after`, default the slowest device's place. `text`: their contents, too.
  'inbox.show': Type.Object({
    user,
    messages: Type.Optional(Type.Integer(RANGES['inbox.show'].messages)),
    after: Type.Optional(Type.Integer(RANGES['inbox.show'].after)),
    text: Type.Optional(Type.Boolean()),
  }),
  // Those made before that time (RFC 3339), or all: one of the two.
  'inbox.purge': Type.Object({
    user,
    before: Type.Optional(text(40, 1)),
    all: Type.Optional(Type.Literal(true)),
  }),
  // `user`: only this inbox is looked in.
  'message.trace': Type.Object({ id: text(36, 36), user: Type.Optional(user) }),
  // `file`: a path on the machine of the gateway. `files`: those that people sent, too; default true.
  backup: Type.Object({ file: text(4096, 1), files: Type.Optional(Type.Boolean()) }),
  // `spread`: seconds until the last client is sent away; default `shutdown.spread`.
  drain: Type.Object({ spread: Type.Optional(Type.Integer(RANGES.drain.spread)) }),
  stats: Type.Object({}),
  reload: Type.Object({}),
  'log.level': Type.Object({
    level: Type.Optional(
      Type.Union(
        (['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const).map(level =>
          Type.Literal(level),
        ),
      ),
    ),
  }),
  // `from`: default, the account with the role that registered first.
  'broadcast.send': Type.Object({ content: text(16_777_216, 1), from: Type.Optional(user) }),
  // `expires`: a time (RFC 3339); without, the token does not expire.
  'admin-token.create': Type.Object({
    name: tokenName,
    role: Type.Optional(Type.Union((['viewer', 'operator', 'admin'] as const).map(one => Type.Literal(one)))),
    expires: Type.Optional(text(40, 1)),
  }),
  'admin-token.list': Type.Object({}),
  'admin-token.revoke': Type.Object({ name: tokenName }),
} as const

export type AdminName = keyof typeof ADMIN_REQUESTS
export type AdminData<N extends AdminName> = Static<(typeof ADMIN_REQUESTS)[N]>

export type AdminRequest = {
  [N in AdminName]: { readonly name: N; readonly id: undefined; readonly data: AdminData<N> }
}[AdminName]

const compiled = compileRules(ADMIN_REQUESTS)
const oldAccount = compileRules({ account: OLD_ACCOUNT }).get('account')

/** @throws GatewayError BAD_FIELD, TOO_LARGE */
export function checkOldAccount(data: unknown): OldAccount {
  if (oldAccount === undefined || !isRecord(data)) throw badField('users', 'must be objects')
  checkFields(oldAccount, data, 'refuse')
  // The data passed its schema above.
  return data as OldAccount
}

export const isAdminName = (name: string): name is AdminName => compiled.has(name)

/**
 * @param name what stands behind `/v1/`
 * @param body JSON text; '' = no fields
 * @throws GatewayError UNKNOWN_REQUEST, BAD_JSON, BAD_FIELD, TOO_LARGE
 */
export function parseAdminRequest(name: string, body: string): AdminRequest {
  const rules = compiled.get(name)
  if (rules === undefined) throw new GatewayError('UNKNOWN_REQUEST', { reason: 'no such request' })
  const data = body === '' ? {} : parse(body)
  if (!isRecord(data)) throw badField('data', 'must be an object')
  checkFields(rules, data, 'refuse')
  // The data passed its schema above.
  return { name, id: undefined, data } as AdminRequest
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    throw new GatewayError('BAD_JSON', { reason: 'not valid JSON' })
  }
}
