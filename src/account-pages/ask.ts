/** Makes the request that a form stands for: the same that JSON clients make, by the same door. */
import { CODES, type CodeName, type ErrorInfo, type GatewayError, type Locale } from '../core/errors.js'
import type { Metrics } from '../core/metrics.js'
import type { Answer, Caller } from '../handle/context.js'
import { handle } from '../handle/index.js'
import { refuse } from '../handle/refuse.js'
import type { Services } from '../handle/services.js'
import { parseRequest, type RequestName } from '../protocol/requests.js'

export interface Visitor {
  readonly locale: Locale
  readonly address: string | undefined
  /** Whether the connection has closed. */
  readonly hasLeft: () => boolean
}

export interface Outcome {
  readonly code: CodeName
  readonly info: ErrorInfo | null
  /** Of the reply. */
  readonly data?: unknown
}

/** Never rejects: what goes wrong is the outcome. */
export async function ask(
  { services, metrics }: { readonly services: Services; readonly metrics: Pick<Metrics, 'answered'> },
  visitor: Visitor,
  action: RequestName,
  data: Readonly<Record<string, unknown>>,
): Promise<Outcome> {
  const caller = callerOf(visitor)
  const outcome = await new Promise<Outcome>(resolve => {
    const ok = (code: CodeName, data?: unknown) => resolve({ code, info: null, data })
    const refused = ({ kind, info }: GatewayError) => resolve({ code: kind, info })
    const answer: Answer = { ok, refuse: refused, failed: refused, stored: () => ok('MESSAGE_SUCCESS') }
    try {
      const request = parseRequest(JSON.stringify({ type: 'action', action, data }), services.rules)
      void handle(services, caller, request, answer)
    } catch (thrown) {
      refuse(services.log, { request: action, caller, answer }, thrown)
    }
  })
  metrics.answered('pages', action, CODES[outcome.code].code)
  return outcome
}

function callerOf({ locale, address, hasLeft }: Visitor): Caller {
  return {
    userId: undefined,
    login: undefined,
    permissions: undefined,
    front: 'pages',
    locale,
    remoteAddress: address,
    get hasLeft() {
      return hasLeft()
    },
    get isGone() {
      return hasLeft()
    },
    leave: () => undefined,
  }
}
