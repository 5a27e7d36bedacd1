/** What is sent, and what may come of it. */
import type { Random } from '../random.js'

/** An account of the fuzzer's: whoever it attacks, its own rights are known. */
export interface Account {
  readonly id: string
  readonly email: string
  readonly password: string
}

export interface Input {
  /** What is mutated or wrong, for the tally. */
  readonly kind: string
  /** All of it. */
  readonly bytes: Buffer
}

/** Makes one input; the same random numbers make the same one, but for the account. */
export type Generate<I extends Input> = (random: Random, account: Account) => I

/** The server did what it must not do. */
export class Fault extends Error {}

/** Takes an input to the server. @returns what became of it, for the tally @throws Fault */
export interface Door {
  send(random: Random): Promise<string>
  /** What is on its way. */
  readonly current: Input | undefined
  close(): void
}
