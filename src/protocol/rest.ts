/**
 * What the REST API takes besides the fields of requests (requests.ts), and what it answers. The published document and the
 * checks derive from it.
 */
import { type Static, type TObject, type TSchema, Type } from '@sinclair/typebox'
import { USER_ID } from '../core/model.js'
import { userId } from './fields.js'
import { REQUESTS } from './requests.js'

export type Fields = TObject
export type Schema = TSchema

const strict = { additionalProperties: false } as const
const time = Type.String({ format: 'date-time' })
const id = Type.String({ pattern: `^${USER_ID}$` })

/** What it takes. */
export const TAKEN = {
  // What belongs to a connection is left out: a login by REST has none.
  login: Type.Omit(REQUESTS.login, ['from', 'ack', 'events', 'token']),
  user: Type.Object({ id: userId }),
} as const

/** What it answers. */
export const GIVEN = {
  problem: Type.Object(
    {
      type: Type.String({ format: 'uri-reference', description: 'Where the code is described.' }),
      title: Type.String({
        description: 'The text of the code, in the language that Accept-Language asks for.',
      }),
      status: Type.Integer({ minimum: 400, maximum: 599 }),
      detail: Type.Optional(Type.String({ description: 'Why.' })),
      code: Type.Integer({ description: 'The number that the same refusal has over WebSocket and MQTT.' }),
      field: Type.Optional(Type.String({ description: 'The field, parameter or header at fault.' })),
      retry: Type.Boolean({ description: 'Whether the same request may succeed later.' }),
    },
    { ...strict, description: 'Problem details (RFC 9457).' },
  ),
  me: Type.Object(
    {
      id,
      email: Type.String(),
      username: Type.String({ description: 'Empty: none.' }),
      firstName: Type.String(),
      lastName: Type.String(),
      profileImage: Type.String(),
      key: Type.String(),
      language: Type.Union([Type.Literal('en'), Type.Literal('zh-TW'), Type.Null()], {
        description: 'Of letters to the account; null: that of the server.',
      }),
      role: Type.Union([Type.Literal('user'), Type.Literal('admin')]),
      createdAt: time,
      verifiedAt: Type.Union([time, Type.Null()], {
        description: 'When the email address was confirmed; null: never.',
      }),
    },
    { ...strict, description: 'The account that has logged in.' },
  ),
} as const

export type Problem = Static<typeof GIVEN.problem>
export type Me = Static<typeof GIVEN.me>
