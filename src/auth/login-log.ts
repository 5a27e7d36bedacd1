/** What is said of logins and of the ends of connections, the same for both front ends: a log line and a metric. */
import type { CodeName } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { FrontEnd, Metrics } from '../core/metrics.js'
import type { UserId } from '../core/model.js'

/** Label of a metric: few values, never a client's words. */
export type LoginOutcome = 'accepted' | 'wrong-credentials' | 'not-allowed' | 'unavailable'

/** How a connection ended that the server did not end: with a goodbye, or without. */
export type ClientsEnd = 'left' | 'dropped'

export interface LoginFacts {
  readonly front: FrontEnd
  readonly userId?: UserId | undefined
  /** MQTT client id, or the name of a JSON device: JSON text in the log, so whatever is in it is escaped. */
  readonly device?: string | undefined
  readonly remoteAddress?: string | undefined
}

/** Characters of a client id that are logged. */
const MAX_DEVICE = 128

const NOT_ALLOWED: ReadonlySet<CodeName> = new Set([
  'ERROR_MULTIPLE_LOGIN',
  'ERROR_UNAUTHORIZED',
  'FORBIDDEN',
])

export function outcomeOf(code: CodeName): LoginOutcome {
  if (code === 'ERROR_AUTH') return 'wrong-credentials'
  return NOT_ALLOWED.has(code) ? 'not-allowed' : 'unavailable'
}

export class LoginLog {
  constructor(
    private readonly log: Logger,
    private readonly metrics: Metrics,
  ) {}

  accepted(facts: LoginFacts): void {
    this.count(facts.front, 'accepted')
    this.log.info({ event: 'account.logged-in', ...bounded(facts), outcome: 'accepted' }, 'logged in')
  }

  /** @param code of the refusal, or of CONNACK */
  refused(facts: LoginFacts, outcome: LoginOutcome, code: number): void {
    this.count(facts.front, outcome)
    this.log.info({ event: 'login.refused', ...bounded(facts), outcome, code }, 'login refused')
  }

  count(front: FrontEnd, outcome: LoginOutcome): void {
    this.metrics.logins.inc({ front, outcome })
  }

  /** Strangers are only counted: of them there may be any number. @param openedAt performance.now() */
  ended(facts: LoginFacts, reason: string, openedAt: number): void {
    this.metrics.ended.inc({ front: facts.front, reason })
    if (facts.userId === undefined) return
    const durationMs = Math.round(performance.now() - openedAt)
    this.log.info({ event: 'connection.ended', ...bounded(facts), reason, durationMs }, 'connection ended')
  }
}

const bounded = (facts: LoginFacts): LoginFacts =>
  facts.device === undefined ? facts : { ...facts, device: facts.device.slice(0, MAX_DEVICE) }
