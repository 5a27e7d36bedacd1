/** Checks the fields of a request against its schema, and words what is wrong with one. */
import { type TObject, Type } from '@sinclair/typebox'
import { TypeCompiler, ValueErrorType } from '@sinclair/typebox/compiler'
import { GatewayError } from '../core/errors.js'
import { USER_ID } from '../core/model.js'

/** No NUL: it ends a string in the C clients of this protocol, and a key in many stores. */
const NO_NUL = '^[^\\u0000]*$'

/** Lengths are in UTF-16 code units. */
export const text = (maxLength: number, minLength = 0) =>
  Type.String({ minLength, maxLength, pattern: NO_NUL, reason: 'must not contain NUL' })

/** Of a line: nothing that moves a cursor, ends the line, or turns the direction of what stands behind it. */
const ONE_LINE = '^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2066-\\u2069]*$'

/** A name of somebody, as new clients give it. Old ones may have any text. */
export const personName = (maxLength: number) =>
  Type.String({ minLength: 1, maxLength, pattern: ONE_LINE, reason: 'must not contain control characters' })

/** A schema with a pattern has the words for what does not match it. */
const ID = { reason: 'is not a user id' }

export const userId = Type.String({ pattern: `^${USER_ID}$`, ...ID })

/** The same, or ''. */
export const maybeUserId = Type.String({ pattern: `^(${USER_ID})?$`, ...ID })

/** The rules of one request's fields. */
export interface FieldRules {
  readonly fields: ReadonlySet<string>
  readonly check: ReturnType<typeof TypeCompiler.Compile<TObject>>
}

/** @param schemas by the name of the request */
export function compileRules<N extends string>(
  schemas: Readonly<Record<N, TObject>>,
): ReadonlyMap<string, FieldRules> {
  const all = Object.entries<TObject>(schemas)
  return new Map(
    all.map(([name, schema]) => [
      name,
      { check: TypeCompiler.Compile(schema), fields: new Set(Object.keys(schema.properties)) },
    ]),
  )
}

/** @throws GatewayError BAD_FIELD, TOO_LARGE */
export function checkFields(
  rules: FieldRules,
  data: Record<string, unknown>,
  unknownFields: 'refuse' | 'ignore',
): void {
  if (unknownFields === 'refuse') refuseUnknown(data, rules.fields)
  if (!rules.check.Check(data)) throw firstFault(rules.check.Errors(data).First())
  for (const key in data) {
    const value = data[key]
    // A lone surrogate has no UTF-8 form (RFC 3629): it could be stored but not sent.
    if (typeof value === 'string' && !value.isWellFormed())
      throw badField(key.slice(0, 64), 'is not well-formed Unicode')
  }
}

/** Texts of a query string as values of the schema's types; those that have another form stay, for the check to refuse. */
export function typedFields({ check }: FieldRules, texts: Record<string, unknown>): Record<string, unknown> {
  const { properties } = check.Schema()
  const typed = (name: string, text: unknown) => {
    const type: unknown = Object.hasOwn(properties, name) ? properties[name]?.type : undefined
    if (type === 'integer' && /^\d{1,15}$/.test(String(text))) return Number(text)
    return type === 'boolean' && text === 'true' ? true : text
  }
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, typed(name, text)]))
}

/** @throws GatewayError BAD_FIELD */
export function refuseUnknown(object: Record<string, unknown>, known: ReadonlySet<string>): void {
  for (const key in object) {
    if (!known.has(key)) throw badField(key.slice(0, 64), 'unknown field')
  }
}

interface Fault {
  readonly type: ValueErrorType
  readonly path: string
  readonly schema: { readonly [key: string]: unknown }
}

function firstFault(fault: Fault | undefined): GatewayError {
  const field = fault?.path.slice(1) || 'data'
  switch (fault?.type) {
    case ValueErrorType.ObjectRequiredProperty:
      return badField(field, 'is missing')
    case ValueErrorType.StringMinLength:
      return badField(field, atLeast(Number(fault.schema.minLength)))
    case ValueErrorType.StringMaxLength:
      return new GatewayError('TOO_LARGE', {
        field,
        reason: `longer than ${fault.schema.maxLength} characters`,
      })
    case ValueErrorType.StringPattern:
      return badField(field, String(fault.schema.reason))
    case ValueErrorType.String:
      return badField(field, 'must be a string')
    default:
      return badField(field, 'has the wrong type or value')
  }
}

const atLeast = (length: number): string =>
  length > 1 ? `shorter than ${length} characters` : 'must not be empty'

export const badField = (field: string, reason: string) => new GatewayError('BAD_FIELD', { field, reason })

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
