/** Logins with tokens, over real sockets. */
import type { Test } from 'tap'
import { type JsonClient, jsonClient, type TestAccount } from './gateway.js'

export interface TestTokens {
  readonly token: string
  readonly refresh: string
  readonly expires: string
}

export interface ListedSession {
  readonly id: string
  readonly kind: string
  readonly device: string
  readonly online: boolean
  readonly current: boolean
}

/** Logs in by password and asks for tokens. */
export async function withTokens(
  t: Test,
  gateway: { httpPort: number },
  { email, password, id }: TestAccount,
  options: Record<string, unknown> = {},
): Promise<{ client: JsonClient; tokens: TestTokens }> {
  const client = await jsonClient(t, gateway)
  const reply = await client.action('login', { email, password, token: true, ...options })
  if (reply.code !== 202) throw new Error(`login: ${JSON.stringify(reply)}`)
  client.userId = id
  return { client, tokens: reply.data as TestTokens }
}

export async function sessionsOf(client: JsonClient, user?: string): Promise<ListedSession[]> {
  const reply = await client.action('sessions', user === undefined ? {} : { user })
  if (reply.code !== 200) throw new Error(`sessions: ${JSON.stringify(reply)}`)
  return (reply.data as { sessions: ListedSession[] }).sessions
}

/** Mints a credential for one MQTT client id. */
export async function minted(
  client: JsonClient,
  device: string,
): Promise<{ session: string; password: string }> {
  const reply = await client.action('mint', { device })
  if (reply.code !== 200) throw new Error(`mint: ${JSON.stringify(reply)}`)
  return reply.data as { session: string; password: string }
}
