/** Asks the REST API as a client that knows nothing of it but HTTP and JSON. */
import { connect } from 'node:net'
import type { Test } from 'tap'
import type { Problem } from '../../src/protocol/rest.js'
import { register, type TestAccount } from './gateway.js'
import { withTokens } from './tokens.js'

export interface RestReply {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests say themselves what they expect in it
  readonly json: any
}

export interface RestRequest {
  readonly token?: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** @param where `GET /me`, below /api/v1 */
export async function askRest(
  { http }: { readonly http: string },
  where: string,
  { token, body, headers = {} }: RestRequest = {},
): Promise<RestReply> {
  const [method = '', path = ''] = where.split(' ')
  const response = await fetch(`${http}/api/v1${path}`, {
    method,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await response.text()
  const isJson = /json/.test(response.headers.get('content-type') ?? '') && text !== ''
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson ? JSON.parse(text) : undefined,
  }
}

/** An account with tokens. */
export async function restAccount(
  t: Test,
  gateway: { readonly httpPort: number },
  email?: string,
): Promise<TestAccount & { readonly token: string; readonly refresh: string }> {
  const account = await register(t, gateway, email)
  const { client, tokens } = await withTokens(t, gateway, account)
  await client.close()
  return { ...account, ...tokens }
}

/** @returns the body, after checks of what all refusals have */
export function problem(t: Test, { status, headers, json }: RestReply, expected: number): Problem {
  t.equal(status, expected)
  t.match(headers.get('content-type'), /^application\/problem\+json/)
  t.equal(json.status, expected)
  t.equal(json.type, `/api#code-${json.code}`)
  return json
}

/** Sends bytes and reads all that comes until the gateway closes. */
export async function rawHttp(port: number, ...parts: readonly (string | Buffer)[]): Promise<string> {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined)
  for (const part of parts) socket.write(part)
  let answer = ''
  socket.on('data', bytes => {
    answer += bytes
  })
  await new Promise(resolve => socket.once('close', resolve))
  return answer
}
