import type { Principal } from '../auth/authenticate.js'
import type { LoginOutcome } from '../auth/login-log.js'
import type { MqttConnection } from './connection.js'
import type { BrokerParts } from './parts.js'
import { REASON, returnCodeOf } from './wire/reason-codes.js'

/** By CONNACK's return code. */
const OUTCOMES: Readonly<Record<number, LoginOutcome>> = { 3: 'unavailable', 4: 'wrong-credentials' }

/** As people know them. */
const VERSIONS = { 3: '3.1', 4: '3.1.1', 5: '5' } as const

interface ConnectOutcome {
  readonly clientId: string
  readonly who: Principal | undefined
  /** Protocol level of CONNECT. */
  readonly version: 3 | 4 | 5
  /** Reason code of CONNACK, as MQTT 5 has them. */
  readonly reason: number
}

/** Tells the log, the metrics and the audit file how a CONNECT ended. */
export function recordLogin(
  { metrics, services: { audit, loginLog } }: BrokerParts,
  { remoteAddress }: MqttConnection,
  { clientId, who, reason, version }: ConnectOutcome,
): void {
  // The log has the numbers of MQTT 3.1.1, whatever the version.
  const returnCode = reason === REASON.SUCCESS ? 0 : (returnCodeOf(reason) ?? reason)
  const about = { userId: who?.user.id, front: 'mqtt', remoteAddress, kind: who?.login.kind }
  const facts = { front: 'mqtt', userId: who?.user.id, device: clientId, remoteAddress } as const
  const outcome = returnCode === 0 ? 'accepted' : (OUTCOMES[returnCode] ?? 'not-allowed')
  metrics.mqttConnects.inc({ version: VERSIONS[version], outcome })
  if (returnCode === 0) loginLog.accepted(facts)
  else loginLog.refused(facts, outcome, returnCode)
  const session = { session: who?.login.id, device: clientId }
  if (returnCode !== 0) audit.record({ event: 'login.failed', ...about, code: returnCode })
  else if (who !== undefined) audit.record({ event: 'login.succeeded', ...about, ...session })
}
