/** An authenticator app, and accounts that have one. */
import { generateSync } from 'otplib'
import type { Test } from 'tap'
import { type JsonClient, jsonClient, type TestAccount } from './gateway.js'

const STEP_MS = 30_000

/**
 * Codes of an app, each a step behind the one before and so good where that is used up. The server takes one step ahead of its
 * clock: of each app use two codes, and recovery codes for the rest.
 */
export function authenticator(secret: string): () => string {
  const begun = Date.now()
  let steps = 0
  return () => generateSync({ secret, epoch: Math.floor((begun + STEP_MS * steps++) / 1000) })
}

export interface Enrolled {
  readonly secret: string
  readonly code: () => string
  readonly recoveryCodes: string[]
}

/** Switches the second factor on; one code of the app is used then. */
export async function enrol(
  t: Test,
  gateway: { httpPort: number },
  { email, password }: TestAccount,
  client?: JsonClient,
): Promise<Enrolled> {
  const asking = client ?? (await jsonClient(t, gateway))
  const who = client === undefined ? { email } : {}
  const begun = await asking.action('beginSecondFactor', { ...who, password }, 'begin')
  if (begun.code !== 200) throw new Error(`begin: ${JSON.stringify(begun)}`)
  const { secret } = begun.data as { secret: string }
  const code = authenticator(secret)
  const done = await asking.action('confirmSecondFactor', { ...who, secret, code: code() }, 'confirm')
  if (done.code !== 200) throw new Error(`confirm: ${JSON.stringify(done)}`)
  return { secret, code, ...(done.data as { recoveryCodes: string[] }) }
}
