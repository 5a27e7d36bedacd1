/** `enumeration`: whether the time of an answer tells a stranger if there is an account with an address. */
import type { Values } from './chat.js'
import { JsonClient } from './json-client.js'
import { emailOf, userId } from './program.js'
import { median } from './results.js'
import type { Context, Scenario, Step } from './scenario.js'

/** Of each kind, by turns, each with an address of its own; which is first in a turn is chance. */
const ASKED = 400
/** The default of passwords.cost. */
const COST = 10

const KNOWN = (n: number) => emailOf(userId(n))
const UNKNOWN = (n: number) => `nobody-${n}@bench.test`

const QUESTIONS: Readonly<Record<string, (email: string) => object>> = {
  'wrong password': email => ({ action: 'login', data: { email, password: 'not the right one' } }),
  'forgotten password': email => ({ action: 'requestPasswordReset', data: { email } }),
  'confirmation again': email => ({ action: 'resendVerification', data: { email } }),
}

async function run({ program, dir }: Context): Promise<Step[]> {
  await program.addUsers(dir, 0, ASKED, COST)
  const never = 1_000_000_000
  const limits = {
    'limits.exempt': '127.0.0.0/8',
    'limits.mails': never,
    'limits.refusals': never,
    'limits.failedLoginsPerAddress': never,
  }
  const server = await program.start(dir, { 'passwords.cost': COST, 'accounts.verify': 'soft', ...limits })
  const client = new JsonClient(server.ports.http)
  try {
    await client.open()
    const steps: Step[] = []
    for (const [step, question] of Object.entries(QUESTIONS))
      steps.push({ step, values: await compare(client, question) })
    await client.close()
    return steps
  } finally {
    await server.stop()
  }
}

/** @throws Error where an answer itself tells it */
async function compare(client: JsonClient, question: (email: string) => object): Promise<Values> {
  const known: number[] = []
  const unknown: number[] = []
  const codes = new Set<number>()
  const ask = async (email: string, times: number[]) => {
    const begun = performance.now()
    const { code } = await client.request({ type: 'action', ...question(email) })
    times.push(performance.now() - begun)
    codes.add(code)
  }
  for (let n = 0; n < ASKED; n++) {
    const isFirst = Math.random() < 0.5
    if (isFirst) await ask(KNOWN(n), known)
    await ask(UNKNOWN(n), unknown)
    if (!isFirst) await ask(KNOWN(n), known)
  }
  if (codes.size !== 1) throw new Error(`the answers differ: ${[...codes]}`)
  const [there, nowhere] = [median(known), median(unknown)]
  return { 'there ms': there, 'nowhere ms': nowhere, 'there ÷ nowhere': there / nowhere }
}

export const enumeration: Scenario = { name: 'enumeration', wires: ['json'], against: [], run }
