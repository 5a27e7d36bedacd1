/** A log line and a metric for each login and each end of a connection, in the same form for both front ends. */
import { CODES, type CodeName } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { FrontEnd, Metrics } from '../core/metrics.js'
import type { UserId } from '../core/model.js'

/** A label of a metric, so it has few values and no text of clients. */
export type LoginOutcome = 'accepted' | 'wrong-credentials' | 'second-factor' | 'not-allowed' | 'unavailable'

/** How a client ended its connection: `left` with a close frame or DISCONNECT, `dropped` without. */
export type ClientsEnd = 'left' | 'dropped'

export interface LoginFacts {
  readonly front: FrontEnd
  readonly userId?: UserId | undefined
  /** MQTT client id, or the name of a JSON device. The log escapes it. */
  readonly device?: string | undefined
  readonly remoteAddress?: string | undefined
}

/** Characters of a client id that are logged. */
const MAX_DEVICE = 128

const NOT_ALLOWED: ReadonlySet<CodeName> = new Set([
  'ACCOUNT_DISABLED',
  'EMAIL_UNVERIFIED',
  'ERROR_MULTIPLE_LOGIN',
  'ERROR_UNAUTHORIZED',
  'FORBIDDEN',
])

export function outcomeOf(code: CodeName): LoginOutcome {
  if (code === 'ERROR_AUTH') return 'wrong-credentials'
  if (code === 'SECOND_FACTOR_REQUIRED') return 'second-factor'
  return NOT_ALLOWED.has(code) ? 'not-allowed' : 'unavailable'
}

/** A label of a metric, as above. */
function refusedAs(code: CodeName): string {
  if (code === 'ERROR_EXIST_USER') return 'taken'
  if (code === 'TOO_MANY_REGISTRATIONS') return 'limited'
  return CODES[code].retry ? 'unavailable' : 'refused'
}

export class LoginLog {
  constructor(
    private readonly log: Logger,
    private readonly metrics: Metrics,
    /** Level of the lines; `silent`: none. */
    private readonly level: 'debug' | 'info' | 'warn' | 'silent' = 'info',
  ) {}

  accepted(facts: LoginFacts): void {
    this.count(facts.front, 'accepted')
    this.log[this.level]({ event: 'account.logged-in', ...bounded(facts), outcome: 'accepted' }, 'logged in')
  }

  /** @param code the number of the refusal, or the return code of CONNACK */
  refused(facts: LoginFacts, outcome: LoginOutcome, code: number): void {
    this.count(facts.front, outcome)
    this.log[this.level]({ event: 'login.refused', ...bounded(facts), outcome, code }, 'login refused')
  }

  count(front: FrontEnd, outcome: LoginOutcome): void {
    this.metrics.logins.inc({ front, outcome })
  }

  /** Somebody asked for a new account. @param code why it was not made; undefined: it was */
  registered(front: FrontEnd, code?: CodeName): void {
    this.metrics.registrations.inc({ front, outcome: code === undefined ? 'accepted' : refusedAs(code) })
  }

  /**
   * Connections without a login are counted and not logged, since there may be any number.
   * @param openedAt performance.now()
   */
  ended(facts: LoginFacts, reason: string, openedAt: number): void {
    this.metrics.ended.inc({ front: facts.front, reason })
    if (facts.userId === undefined) return
    const durationMs = Math.round(performance.now() - openedAt)
    this.log[this.level](
      { event: 'connection.ended', ...bounded(facts), reason, durationMs },
      'connection ended',
    )
  }
}

const bounded = (facts: LoginFacts): LoginFacts =>
  facts.device === undefined ? facts : { ...facts, device: facts.device.slice(0, MAX_DEVICE) }
