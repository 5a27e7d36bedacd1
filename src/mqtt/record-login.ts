import type { Principal } from '../auth/authenticate.js'
import type { LoginOutcome } from '../auth/login-log.js'
import type { MqttConnection } from './connection.js'
import type { BrokerParts } from './parts.js'
import { REASON, returnCodeOf } from './wire/reason-codes.js'

/** By CONNACK's return code. */
const OUTCOMES: Readonly<Record<number, LoginOutcome>> = { 3: 'unavailable', 4: 'wrong-credentials' }

interface ConnectOutcome {
  readonly clientId: string
  readonly who: Principal | undefined
  /** Reason code of CONNACK, as MQTT 5 has them. */
  readonly reason: number
}

/** Tells the log, the metrics and the audit file how a CONNECT ended. */
export function recordLogin(
  { services: { audit, loginLog } }: BrokerParts,
  { remoteAddress }: MqttConnection,
  { clientId, who, reason }: ConnectOutcome,
): void {
  // The log has the numbers of MQTT 3.1.1, whatever the version.
  const returnCode = reason === REASON.SUCCESS ? 0 : (returnCodeOf(reason) ?? reason)
  const about = { userId: who?.user.id, front: 'mqtt', remoteAddress, kind: who?.login.kind }
  const facts = { front: 'mqtt', userId: who?.user.id, device: clientId, remoteAddress } as const
  if (returnCode === 0) loginLog.accepted(facts)
  else loginLog.refused(facts, OUTCOMES[returnCode] ?? 'not-allowed', returnCode)
  const session = { session: who?.login.id, device: clientId }
  if (returnCode !== 0) audit.record({ event: 'login.failed', ...about, code: returnCode })
  else if (who !== undefined) audit.record({ event: 'login.succeeded', ...about, ...session })
}
