/** Letters as they wait in the store: what is to be said to whom. What a letter says is written when it is sent. */
import type { ProofKind } from '../auth/proofs.js'
import type { UserId } from '../core/model.js'

/**
 * `reset`: a link for a new password. `verify`: one that shows that mail to the account's address arrives. `change`: the same
 * for a new address. `email-changed`: tells the address before, with a link to undo it. The others only tell.
 */
export type LetterKind =
  | 'reset'
  | 'verify'
  | 'change'
  | 'email-changed'
  | 'password-changed'
  | 'second-factor-on'
  | 'second-factor-off'
  | 'passkey-added'
  | 'recovery-codes-renewed'
  | 'app-password-made'

/** What a letter lets its reader do; others only tell. */
export const PROOF_OF: Readonly<Partial<Record<LetterKind, ProofKind>>> = {
  reset: 'reset',
  verify: 'verify',
  change: 'change',
  'email-changed': 'undo',
}

/**
 * It has no link and no code: these are made when it is sent, so that the store has no secret of a letter that waits, and a
 * letter that had to wait is good for as long as any other.
 */
export interface Letter {
  readonly kind: LetterKind
  readonly userId: UserId
  /** Where it is not the account's address at the time of sending. */
  readonly to?: string
}

/** What is handed to the mail server. All of it is our own text, but the address. */
export interface Message {
  readonly to: string
  readonly subject: string
  readonly text: string
  readonly html: string
}
