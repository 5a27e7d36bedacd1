/** How CONNECT is refused. */
import { GatewayError } from '../core/errors.js'
import type { MqttConnection } from './connection.js'
import type { MalformedPacket } from './wire/packet-rules.js'
import { REASON } from './wire/reason-codes.js'
import { ANY_TERMS5, TERMS4 } from './wire/terms.js'

/** CONNECT is refused. */
export class Refusal extends Error {
  /** @param reason reason code of MQTT 5 (3.2.2.2) */
  constructor(readonly reason: number) {
    super('connection refused')
  }
}

/** A store that fails is no fault of the handler. */
export const isExpected = (thrown: unknown): boolean =>
  thrown instanceof Refusal || thrown instanceof GatewayError

export const toRefusal = (thrown: unknown): Refusal =>
  thrown instanceof Refusal ? thrown : new Refusal(REASON.SERVER_UNAVAILABLE)

/** CONNECT itself is malformed. MQTT 3 gets CONNACK for few faults only [MQTT-3.2.2-6]. */
export function refuseMalformed(
  { transport }: MqttConnection,
  { version, code, refuse }: MalformedPacket,
): void {
  const { encoder } = version === 5 ? ANY_TERMS5 : TERMS4
  if (version === 5 || refuse !== undefined) transport.send(encoder.connack(code, false))
}
