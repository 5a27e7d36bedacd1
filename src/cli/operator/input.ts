/** What a command asks of its operator: a password, and whether to go on. */

import { resolve } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { InvalidArgumentError } from 'commander'
import type { Range } from '../../protocol/admin-ranges.js'
import { CommandError } from './ask.js'

type Input = NodeJS.ReadableStream & { readonly isTTY?: boolean }

/** The absolute path. Nothing, as of a variable of the shell that is not set, would be the working directory. */
export function asPath(text: string): string {
  if (text === '') throw new InvalidArgumentError('must not be empty.')
  return resolve(text)
}

/** A parser of whole numbers in a range, which its refusal names. */
export const asNumber =
  ({ minimum, maximum }: Range) =>
  (text: string): number => {
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (number >= minimum && number <= maximum) return number
    throw new InvalidArgumentError(`must be a whole number, ${minimum} to ${maximum}.`)
  }

/** The first line of the input: not an argument, since others see the arguments of a process. @throws CommandError */
export async function readPassword(input: Input): Promise<string> {
  for await (const line of createInterface({ input })) if (line !== '') return line
  throw new CommandError('--password-stdin: no password on stdin')
}

/** @throws CommandError if the answer is not yes, or nobody can be asked */
export async function confirm(question: string, input: Input, output: NodeJS.WritableStream): Promise<void> {
  if (input.isTTY !== true) throw new CommandError(`${question} Say so by --yes.`)
  const asking = createInterface({ input, output })
  const answer = await asking.question(`${question} [y/N] `)
  asking.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new CommandError('nothing was done')
}
