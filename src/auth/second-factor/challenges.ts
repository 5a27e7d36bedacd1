/**
 * Challenges of logins by a passkey (WebAuthn Level 3, 13.4.3). They are signed and not kept, so that strangers who ask for any
 * number fill no memory; what is kept are those that a passkey of an account has answered, until they expire.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { recentMap } from '../../core/recent.js'
import { isSame } from '../secrets.js'

/** How long a person may take, ms. */
export const CHALLENGE_MS = 300_000

const MAX_ANSWERED = 100_000

const FORM = /^(\d+)\.([\w-]+)\.([\w-]+)$/

export class Challenges {
  /** Of this process: after a restart an open page must be loaded again. */
  readonly #key = randomBytes(32)
  readonly #answered = recentMap<string, true>(MAX_ANSWERED, CHALLENGE_MS)

  /** @returns base64url */
  make(now = Date.now()): string {
    const head = `${now + CHALLENGE_MS}.${randomBytes(16).toString('base64url')}`
    return Buffer.from(`${head}.${this.#sign(head)}`).toString('base64url')
  }

  /** Whether it is one of these and has not expired. */
  isGood(challenge: string, now = Date.now()): boolean {
    const text = Buffer.from(challenge, 'base64url').toString()
    const [, until = '', random = '', signature] = FORM.exec(text) ?? []
    // One spelling each, so that none is good twice.
    if (!(Number(until) > now) || Buffer.from(text).toString('base64url') !== challenge) return false
    return isSame(this.#sign(`${until}.${random}`), signature)
  }

  /** Call it when the answer was found good, before anything comes of it. @returns whether it is the first one */
  use(challenge: string): boolean {
    if (this.#answered.has(challenge)) return false
    this.#answered.set(challenge, true)
    return true
  }

  #sign(head: string): string {
    return createHmac('sha256', this.#key).update(head).digest('base64url')
  }
}
