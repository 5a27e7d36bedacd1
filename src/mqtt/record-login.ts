import type { Principal } from '../auth/authenticate.js'
import type { LoginOutcome } from '../auth/login-log.js'
import type { MqttConnection } from './connection.js'
import type { BrokerParts } from './parts.js'

/** By CONNACK's return code. */
const OUTCOMES: Readonly<Record<number, LoginOutcome>> = { 3: 'unavailable', 4: 'wrong-credentials' }

interface ConnectOutcome {
  readonly clientId: string
  readonly who: Principal | undefined
  /** 0: let in. */
  readonly returnCode: number
}

/** Tells the log, the metrics and the audit file how a CONNECT ended. */
export function recordLogin(
  { services: { audit, loginLog } }: BrokerParts,
  { remoteAddress }: MqttConnection,
  { clientId, who, returnCode }: ConnectOutcome,
): void {
  const about = { userId: who?.user.id, front: 'mqtt', remoteAddress, kind: who?.login.kind }
  const facts = { front: 'mqtt', userId: who?.user.id, device: clientId, remoteAddress } as const
  if (returnCode === 0) loginLog.accepted(facts)
  else loginLog.refused(facts, OUTCOMES[returnCode] ?? 'not-allowed', returnCode)
  const session = { session: who?.login.id, device: clientId }
  if (returnCode !== 0) audit.record({ event: 'login.failed', ...about, code: returnCode })
  else if (who !== undefined) audit.record({ event: 'login.succeeded', ...about, ...session })
}
