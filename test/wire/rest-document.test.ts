/**
 * The published document against the server: each operation with random inputs, valid and not. Whatever is sent, the answer has a
 * status that the document names, and the form that it says; none is 500.
 */
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { startGateway } from '../helpers/gateway.js'
import { askRest, type RestReply, restAccount } from '../helpers/rest.js'

/** Rates and delays are lifted by `limits.exempt`, which has this machine's addresses, and by these. */
const gateway = await startGateway(t, {
  locale: 'en',
  'tokens.perAccount': 1000,
  'limits.accountBytes': '1GiB',
})

type Person = Awaited<ReturnType<typeof restAccount>>

const ann = await restAccount(t, gateway)
const bob = await restAccount(t, gateway)

interface Schema {
  readonly [keyword: string]: unknown
  readonly type?: string
  readonly properties?: Record<string, Schema>
  readonly required?: readonly string[]
}

interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly required?: boolean
  readonly schema: Schema
}

interface Described {
  readonly operationId: string
  readonly security?: readonly object[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Record<string, { readonly schema?: Schema }> }
  readonly responses: Record<string, { readonly content?: Record<string, { readonly schema: Schema }> }>
}

const text = await (await fetch(`${gateway.http}/api/openapi.json`)).text()
const document = JSON.parse(text) as { paths: Record<string, Record<string, Described>>; components: object }

t.test('the document is OpenAPI 3.1', async t => {
  const result = await new Validator().validate(JSON.parse(text))
  t.same(result.valid, true, JSON.stringify(result.errors))
  const ids = Object.values(document.paths).flatMap(path => Object.values(path).map(one => one.operationId))
  t.equal(new Set(ids).size, ids.length, 'each operation has a name of its own')
})

/** Members that the document does not name are a fault here, though clients must take them. */
const strict = (schema: unknown): unknown =>
  JSON.parse(JSON.stringify(schema), (_key, value) =>
    value?.type === 'object' &&
    value.additionalProperties === undefined &&
    value.patternProperties === undefined
      ? { ...value, additionalProperties: false }
      : value,
  )

const ajv = new Ajv2020({
  strict: false,
  formats: { 'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'uri-reference': true },
})
ajv.addSchema({ $id: 'document', ...(strict({ components: document.components }) as object) })
const compiled = new Map<string, ValidateFunction>()

function checkerOf(schema: Schema): ValidateFunction {
  const key = JSON.stringify(schema)
  const known = compiled.get(key) ?? ajv.compile(JSON.parse(key.replaceAll('"#/', '"document#/')))
  compiled.set(key, known)
  return known
}

/** @throws Error with the request, where the answer is not what the document says */
function checkAnswer({ responses }: Described, { status, headers, json, text }: RestReply): void {
  const described = responses[String(status)]
  if (described === undefined) throw new Error(`status ${status} is not in the document: ${text}`)
  if (status >= 500) throw new Error(`status ${status}: ${text}`)
  const [type] = (headers.get('content-type') ?? '').split(';')
  const content = Object.entries(described.content ?? {})[0]
  if (content === undefined) {
    if (text !== '') throw new Error(`${status} has a body: ${text}`)
    return
  }
  if (type !== content[0]) throw new Error(`${status} is ${type}`)
  const check = checkerOf(content[1].schema)
  if (!check(json))
    throw new Error(`${status} is not as the document says: ${text} ${JSON.stringify(check.errors)}`)
}

const ENDS: ReadonlySet<string> = new Set([
  'logout',
  'endOtherSessions',
  'deleteMe',
  'endSession',
  'revokeDevice',
])

/** What is likely to be meant: texts that lead further than a first check. */
const KNOWN = [
  '123456789',
  ann.id,
  bob.id,
  ann.email,
  bob.email,
  ann.password,
  'lamp',
  'en',
  'zh-TW',
  'hello',
  'x'.repeat(200),
]
const HOSTILE = [
  '',
  '\u0000',
  '\ud800',
  '__proto__',
  "' or 1=1 --",
  '../../etc/passwd',
  '<script>',
  '%00',
  '\u202e',
  '٣',
  'x'.repeat(2000),
]

const texts = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...KNOWN) },
  { weight: 2, arbitrary: fc.constantFrom(...HOSTILE) },
  fc.string({ maxLength: 80, unit: 'binary' }),
)

const anything = fc.oneof(
  texts,
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(0, -1, 1.5, 1e308, true, null, [], {}),
)

function valuesOf(schema: Schema): fc.Arbitrary<unknown> {
  if ('const' in schema) return fc.constant(schema.const)
  if (Array.isArray(schema.anyOf)) return fc.oneof(...schema.anyOf.map(valuesOf))
  if (schema.type === 'integer')
    return fc.integer({ min: Number(schema.minimum), max: Number(schema.maximum ?? 1000) })
  if (schema.type === 'boolean') return fc.boolean()
  return texts
}

type Member = readonly [name: string, value: unknown]

type Likely = Readonly<Record<string, unknown>>

/** Values for the members of a schema: mostly all that are needed, and mostly of their type. */
function fieldsOf(
  properties: Record<string, Schema>,
  required: readonly string[],
  likely: Likely,
): fc.Arbitrary<Record<string, unknown>> {
  const members = Object.entries(properties).map(([name, described]) => {
    // Longer ones would be waited for.
    const schema = name === 'wait' ? { anyOf: [{ const: 0 }, { const: 1 }, { const: 31 }] } : described
    const right = Object.hasOwn(likely, name) ? [{ weight: 12, arbitrary: fc.constant(likely[name]) }] : []
    const value = fc.oneof(...right, { weight: 6, arbitrary: valuesOf(schema) }, anything)
    const weight = required.includes(name) ? 12 : 1
    return fc
      .oneof({ weight, arbitrary: fc.constant(true) }, fc.constant(false))
      .chain(isThere => (isThere ? value.map((one): Member[] => [[name, one]]) : fc.constant<Member[]>([])))
  })
  const odd = fc.oneof(
    { weight: 12, arbitrary: fc.constant([]) },
    fc.tuple(texts, anything).map(one => [one]),
  )
  return fc
    .tuple(...members, odd)
    .map(parts => Object.fromEntries(parts.flat() as [string, unknown][]) as Record<string, unknown>)
}

const HEADERS = fc.record(
  {
    'accept-language': fc.constantFrom('en', 'zh-TW', '*', ';;;', 'q=1'),
    accept: fc.constantFrom('*/*', 'application/json', 'application/*', 'text/html', ','),
    'if-match': fc.constantFrom('*', '"x"', 'x', ','),
    'if-none-match': fc.constantFrom('*', '"x"', 'W/"x"', ''),
    'idempotency-key': fc.constantFrom('k1', '"k 2"', '"', 'x'.repeat(100)),
    origin: fc.constantFrom('null', 'https://chat.example', 'x'),
    'content-type': fc.constantFrom(
      'application/json',
      'application/json; charset=utf-8',
      'text/plain',
      'application/json; charset=latin1',
    ),
  },
  { requiredKeys: [] },
)

/** A token, mostly the good one. */
const tokens = ({ token, refresh }: Person) =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constant(token) },
    fc.constantFrom(undefined, 'x', `${token}x`, refresh, bob.token.slice(0, -1)),
  )

interface Input {
  readonly token: string | undefined
  readonly path: Record<string, unknown>
  readonly query: Record<string, unknown>
  readonly body: unknown
  readonly headers: Record<string, string>
}

/** What leads to success, by the name of the field. */
const likelyOf = ({ password, refresh }: Person): Likely => ({
  ...{ password, newPassword: 'battery staple', token: refresh, device: 'lamp', name: 'app' },
  ...{ recipient: bob.id, with: bob.id, id: bob.id, email: `${bob.id}@new.example`, content: 'hello' },
  ...{ size: 5, type: 'text/plain' },
  ...{ username: '', firstName: 'First', lastName: 'Last', invite: 'x' },
})

function inputsOf({ parameters = [], requestBody }: Described, me: Person): fc.Arbitrary<Input> {
  const place = (where: Parameter['in']) => {
    const own = parameters.filter(one => one.in === where)
    const properties = Object.fromEntries(own.map(({ name, schema }) => [name, schema]))
    return fieldsOf(
      properties,
      own.filter(one => one.required).map(({ name }) => name),
      likelyOf(me),
    )
  }
  const [content] = Object.values(requestBody?.content ?? {})
  const { properties = {}, required = [] } = content?.schema ?? {}
  const body =
    content?.schema === undefined
      ? fc.oneof({ weight: 6, arbitrary: fc.constant(undefined) }, anything)
      : fc.oneof(
          { weight: 8, arbitrary: fieldsOf(properties, required, likelyOf(me)) },
          anything,
          fc.constantFrom('{', '', '[]', '{"a":1,"a":2}', '{"__proto__":{"isAdmin":true}}'),
        )
  const headers = fc.oneof({ weight: 4, arbitrary: fc.constant({}) }, HEADERS)
  return fc.record({
    token: tokens(me),
    path: place('path'),
    query: place('query'),
    body,
    headers,
  }) as fc.Arbitrary<Input>
}

const METHODS_WITHOUT_BODY = new Set(['get', 'head'])

async function send(method: string, path: string, input: Input): Promise<RestReply> {
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => encode(String(input.path[name] ?? 'none')) || 'none')
  const query = new URLSearchParams(
    Object.entries(input.query).map(([name, value]): [string, string] => [name, String(value)]),
  )
  return askRest(gateway, `${method.toUpperCase()} ${filled}${query.size > 0 ? `?${query}` : ''}`, {
    ...(input.token !== undefined && { token: input.token }),
    ...(!METHODS_WITHOUT_BODY.has(method) && input.body !== undefined && { body: input.body }),
    headers: input.headers,
  })
}

/** A lone surrogate has no form in a path. `.` and `..` are what the client makes of a path, not a part of it. */
const encode = (value: string): string =>
  encodeURIComponent(value.toWellFormed().slice(0, 200))
    .replaceAll('%20', '+')
    .replace(/^\.{1,2}$/, '%2e')

async function walk(
  t: Test,
  method: string,
  path: string,
  described: Described,
  runs: number,
): Promise<void> {
  const seen = new Map<number, number>()
  // One that nothing has logged out.
  const me = await restAccount(t, gateway)
  const property = fc.asyncProperty(inputsOf(described, me), async input => {
    const reply = await send(method, path, input)
    seen.set(reply.status, (seen.get(reply.status) ?? 0) + 1)
    // Longer than the router takes, or with a slash in it: there is no such path.
    if (reply.status === 404 && reply.json.field === 'path') return
    checkAnswer(described, reply)
  })
  const details = await fc.check(property, { seed: 20_190_715, numRuns: runs })
  const how = [...seen].map(([status, count]) => `${status}: ${count}`).join(', ')
  if (details.failed) t.fail(fc.defaultReportMessage(details) ?? 'failed')
  else t.pass(how)
}

for (const [path, operations] of Object.entries(document.paths))
  for (const [method, described] of Object.entries(operations)) {
    const { operationId } = described
    if (ENDS.has(operationId)) continue
    t.test(`${operationId}: the answers are as the document says`, async t => {
      await walk(t, method, path, described, 60)
    })
  }

t.test('what ends logins, at the end', async t => {
  for (const [path, operations] of Object.entries(document.paths))
    for (const [method, described] of Object.entries(operations))
      if (ENDS.has(described.operationId)) await walk(t, method, path, described, 40)
})

t.test('nothing failed', async t => {
  t.notOk(gateway.logs.find(({ event }) => event === 'handler.failed'))
  t.notOk(gateway.logs.find(({ level }) => level === 'error'))
})
