/** The types of inputs, their makers and the doors that send them. */
import type { Random } from '../random.js'

/** An account of the fuzzer, whose rights are known. */
export interface Account {
  readonly id: string
  readonly email: string
  readonly password: string
}

export interface Input {
  /** Name of the mutation, for the counts. */
  readonly kind: string
  /** All bytes of the input. */
  readonly bytes: Buffer
}

/** Makes one input. The same random numbers make the same input, except for the account. */
export type Generate<I extends Input> = (random: Random, account: Account) => I

/** The server violated a rule. */
export class Fault extends Error {}

/** Sends an input to the server. @returns the outcome, for the counts @throws Fault */
export interface Door {
  send(random: Random): Promise<string>
  /** Input in flight. */
  readonly current: Input | undefined
  close(): void
}
